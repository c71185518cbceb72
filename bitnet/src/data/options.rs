use std::{env, path::PathBuf};

/// How data is read, and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataOptions {
    /// Field of a JSONL object, or column of a Parquet file, that holds the text.
    pub text_field: String,
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
    /// `text`, and all of it; then the environment's `BITNET_CACHE` (default: `bitnet` in the cache folder of the
    /// platform), `BITNET_DATASETS` (default: `datasets` in the cache), `BITNET_MIRROR` and
    /// `BITNET_OFFLINE` (on unless it is empty or 0).
    fn default() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let cache = variable("BITNET_CACHE").map(PathBuf::from);
        let platform = || dirs::cache_dir().unwrap_or_else(env::temp_dir).join("bitnet");
        let cache = cache.unwrap_or_else(platform);
        let datasets = variable("BITNET_DATASETS").map(PathBuf::from);
        Self {
            text_field: "text".into(),
            first_bytes: None,
            datasets: datasets.unwrap_or_else(|| cache.join("datasets")),
            cache,
            mirror: variable("BITNET_MIRROR").and_then(|value| value.into_string().ok()),
            offline: variable("BITNET_OFFLINE").is_some_and(|value| value != "0"),
        }
    }
}
