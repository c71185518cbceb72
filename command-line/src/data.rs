use bitnet::{
    data::{Corpus, DataError, DataOptions},
    progress::Progress,
};

/// What text is read, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// Files, folders, patterns and named datasets, read one after the other
    #[arg(long = "data", value_name = "SOURCE", required = true, num_args = 1..)]
    pub sources: Vec<String>,
    /// Field or column of .jsonl, .json and .parquet files that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_field: String,
    /// Take files that are no text as the bytes they are (data.binary)
    #[arg(long)]
    binary: bool,
    /// Rows of .jsonl, .json and .parquet files that may be bad (data.skip_bad)
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip_bad: u64,
    /// Memory limit per record, page or Zstandard window, in MiB (data.piece_mib)
    #[arg(long, value_name = "MIB", default_value_t = 256,
          value_parser = clap::value_parser!(u64).range(1..))]
    piece_mib: u64,
}

impl DataArgs {
    /// The library's form of them; what they do not say is as the environment says.
    pub fn options(&self) -> DataOptions {
        DataOptions {
            text_field: self.text_field.clone(),
            binary: self.binary,
            skip_bad: self.skip_bad,
            piece_mib: self.piece_mib,
            ..DataOptions::default()
        }
    }

    /// Finds what they name.
    ///
    /// # Errors
    /// As [`Corpus::open`].
    pub fn open(&self, progress: &dyn Progress) -> Result<Corpus, DataError> {
        Corpus::open(&self.sources, &self.options(), progress)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        data: DataArgs,
    }

    #[test]
    fn what_is_not_given_is_the_librarys_default() {
        let parse = |args: &[&str]| Program::try_parse_from([&["program"], args].concat());
        let given = |args: &[&str]| parse(&[&["--data", "a", "b"], args].concat()).unwrap().data;
        assert_eq!(given(&[]).sources, ["a", "b"]);
        assert_eq!(given(&[]).options(), DataOptions::default());
        let set = ["--text-field", "body", "--binary", "--skip-bad", "3", "--piece-mib", "9"];
        let expected = DataOptions {
            text_field: "body".into(),
            binary: true,
            skip_bad: 3,
            piece_mib: 9,
            ..DataOptions::default()
        };
        assert_eq!(given(&set).options(), expected);
        assert!(parse(&[]).is_err() && parse(&["--data", "a", "--piece-mib", "0"]).is_err());
    }
}
