/// What clap says about a wrong command line, as one line: without its paragraphs on usage.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .take_while(|text| !text.starts_with("Usage:") && !text.starts_with("For more"))
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let text = paragraphs.join("; ");
    format!("{}; see --help", text.strip_prefix("error: ").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn line(args: &[&str]) -> String {
        let command = Command::new("program")
            .arg(Arg::new("out").long("out").required(true))
            .arg(Arg::new("runs").required(true).num_args(1..))
            .arg(Arg::new("mode").long("mode").value_parser(["fast", "slow"]));
        let error = command.try_get_matches_from([&["program"], args].concat()).unwrap_err();
        one_line(&error)
    }

    #[test]
    fn all_that_is_missing_is_named() {
        let expected = "the following required arguments were not provided: --out <out> <runs>...; \
                        see --help";
        assert_eq!(line(&[]), expected);
        assert_eq!(
            line(&["--out", "a", "b", "--mod", "fast"]),
            "unexpected argument '--mod' found; tip: a similar argument exists: '--mode'; \
             see --help"
        );
        assert_eq!(
            line(&["--out", "a", "b", "--mode", "fats"]),
            "invalid value 'fats' for '--mode <mode>' [possible values: fast, slow]; tip: a \
             similar value exists: 'fast'; see --help"
        );
    }
}
