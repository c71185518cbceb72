use std::{
    fs::OpenOptions,
    io::{self, Read},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use bitnet::storage::open_own;
use serde::Serialize;

use super::run::RunData;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a page says of where it comes from, and within how many bytes.
const GENERATOR: (&str, u64) = ("<meta name=\"generator\" content=\"bitnet train report\">", 256);

/// Whether a file is a page that [`render`] made.
///
/// # Errors
/// If it cannot be read.
pub fn is_one(path: &Path) -> io::Result<bool> {
    let (generator, within) = GENERATOR;
    let mut start = Vec::new();
    open_own(path, OpenOptions::new().read(true))?.take(within).read_to_end(&mut start)?;
    Ok(String::from_utf8_lossy(&start).contains(generator))
}

/// What the page's script reads.
#[derive(Serialize)]
struct Data<'a> {
    /// Seconds since 1970.
    written: u64,
    runs: &'a [RunData],
}

/// The page as HTML.
///
/// # Errors
/// None in practice.
pub fn render(runs: &[RunData]) -> anyhow::Result<String> {
    let written = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    // What comes from the runs goes in last, and is not searched.
    Ok(HTML
        .replacen("{{style}}", STYLE, 1)
        .replacen("{{script}}", SCRIPT, 1)
        .replacen("{{title}}", &escape_text(&names.join(", ")), 1)
        .replacen("{{data}}", &escape_json(&serde_json::to_string(&Data { written, runs })?), 1))
}

/// JSON that cannot end the element it stands in: outside of strings JSON has no `<`, and within
/// them the escape means the same.
fn escape_json(json: &str) -> String {
    json.replace('<', "\\u003c")
}

fn escape_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace("{{", "{ {")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_run_is_markup() {
        let evil = "</script><script>alert(1)</script>";
        let json = serde_json::to_string(evil).unwrap();
        let escaped = escape_json(&json);
        assert!(!escaped.contains('<'));
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), evil);
        assert_eq!(escape_text("a<b> & {{data}}"), "a&lt;b> &amp; { {data}}");
    }
}
