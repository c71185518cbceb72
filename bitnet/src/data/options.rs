use std::{env, path::PathBuf};

/// How data is read, and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataOptions {
    /// Field of a JSON object, or column of a Parquet file, that holds the text; dots lead into
    /// what lies within.
    pub text_field: String,
    /// Whether the bytes of files are taken that are no text.
    pub binary: bool,
    /// Rows of JSON and Parquet files that may be bad, of all files together.
    pub skip_bad: u64,
    /// Most memory, in MiB, that a piece of a file takes: a line or record of JSON, a page of a
    /// Parquet file, the window of a Zstandard file.
    pub piece_mib: u64,
    /// Use only so many bytes, from the beginning.
    pub first_bytes: Option<u64>,
    /// Folder of what can be made again.
    pub cache: PathBuf,
    /// Folder of the named datasets.
    pub datasets: PathBuf,
    /// Address that named datasets are fetched from, by the names of their files, instead of
    /// their own.
    pub mirror: Option<String>,
    /// Whether nothing is fetched.
    pub offline: bool,
}

impl Default for DataOptions {
    /// `text`, of files of text, none of them bad, in pieces of up to 256 MiB, and all of it; then
    /// the environment's `BITNET_CACHE` (default: `bitnet` in the cache folder of the platform),
    /// `BITNET_DATASETS` (default: `datasets` in the cache), `BITNET_MIRROR` and `BITNET_OFFLINE`
    /// (on unless it is empty or 0).
    fn default() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let cache = variable("BITNET_CACHE").map(PathBuf::from);
        let platform = || dirs::cache_dir().unwrap_or_else(env::temp_dir).join("bitnet");
        let cache = cache.unwrap_or_else(platform);
        let datasets = variable("BITNET_DATASETS").map(PathBuf::from);
        Self {
            text_field: "text".into(),
            binary: false,
            skip_bad: 0,
            piece_mib: 256,
            first_bytes: None,
            datasets: datasets.unwrap_or_else(|| cache.join("datasets")),
            cache,
            mirror: variable("BITNET_MIRROR").and_then(|value| value.into_string().ok()),
            offline: variable("BITNET_OFFLINE").is_some_and(|value| value != "0"),
        }
    }
}

impl DataOptions {
    /// Most bytes of a piece.
    pub(super) fn piece(&self) -> u64 {
        self.piece_mib.saturating_mul(1 << 20)
    }
}
