/// What `--version` says after the program's name: the version, the commit that was built if that
/// is known, and the backends that are compiled in.
pub fn version(backends: impl IntoIterator<Item = &'static str>) -> String {
    let backends: Vec<&str> = backends.into_iter().collect();
    let commit = option_env!("BITNET_COMMIT").map(|hash| format!("commit {}", &hash[..12]));
    let backends = format!("backends {}", backends.join(" "));
    let parts: Vec<String> = commit.into_iter().chain([backends]).collect();
    format!("{} ({})", env!("CARGO_PKG_VERSION"), parts.join(", "))
}
