//! Passes on where LibTorch is, and writes the King James Bible, as the crate `bible-lib` embeds
//! it, to `OUT_DIR/kjv.txt.gz`.
//!
//! The crate's public interface is not enough: its parser splits each line at every colon and
//! keeps two parts, so a sixth of the text is gone. The whole text is a private constant, which
//! stands in this build script's own executable. It is read from there, and every verse is
//! checked against what the interface does give.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys says where the LibTorch is that it links. The loader looks there, too, in this
    // crate's tests and examples; the build scripts of the programs say the same for these.
    #[cfg(feature = "tch")]
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo::metadata=libtorch_lib={folder}");
    }
    #[cfg(feature = "kjv")]
    if let Err(error) = kjv::write() {
        println!("cargo::error=cannot extract the King James Bible: {error}");
    }
}

#[cfg(feature = "kjv")]
mod kjv {
    use std::{env, error::Error, fs, io::Write, path::Path};

    use bible_lib::{Bible, Translation};
    use flate2::{Compression, GzBuilder};

    /// Differs from the other translations within the second verse.
    const BEGINNING: &[u8] =
        b"Genesis 1:1 In the beginning God created the heaven and the earth.\n\
        Genesis 1:2 And the earth was without form, and void; and darkness [was]";
    const LAST_VERSE: &[u8] = b"\nRevelation 22:21 ";
    const VERSES: usize = 31_103;

    pub(super) fn write() -> Result<(), Box<dyn Error>> {
        let bible = Bible::new(Translation::KingJames).map_err(|e| e.to_string())?;
        let program = fs::read(env::current_exe()?)?;
        // The needle itself stands in the executable, too, and so may pieces of the text.
        let mut result = Err("its beginning is not in the executable".into());
        for start in find_all(&program, BEGINNING) {
            result = extract(&program[start..], &bible);
            if result.is_ok() {
                break;
            }
        }
        let text = result?;

        let path = Path::new(&env::var("OUT_DIR")?).join("kjv.txt.gz");
        // No file name and no time in the header: the same bytes on every build.
        let mut gz = GzBuilder::new().write(fs::File::create(path)?, Compression::best());
        gz.write_all(text.as_bytes())?;
        gz.finish()?.sync_all()?;
        Ok(())
    }

    /// The whole text, where `program` begins with it.
    fn extract(program: &[u8], bible: &Bible) -> Result<String, Box<dyn Error>> {
        let last = find(program, LAST_VERSE).ok_or("its last verse is missing")? + 1;
        let end = last + find(&program[last..], b"\n").ok_or("its last verse has no end")? + 1;
        let text = std::str::from_utf8(&program[..end])?.replace("\r\n", "\n");
        check(&text, bible)?;
        Ok(text)
    }

    fn find_all(haystack: &[u8], needle: &[u8]) -> impl Iterator<Item = usize> {
        (0..haystack.len()).filter(move |&i| haystack[i..].starts_with(needle))
    }

    fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
        find_all(haystack, needle).next()
    }

    fn check(text: &str, bible: &Bible) -> Result<(), Box<dyn Error>> {
        let mut verses = 0;
        for line in text.lines() {
            let (place, verse) = line.split_once(':').ok_or("a line without a colon")?;
            let (book, chapter) = place.rsplit_once(' ').ok_or("a line without a chapter")?;
            let (number, verse) = verse.split_once(' ').ok_or("a line without a verse")?;
            let known = bible
                .verses
                .get(&book.to_lowercase())
                .and_then(|chapters| chapters.get(&chapter.parse().ok()?))
                .and_then(|verses| verses.get(&number.parse().ok()?))
                .ok_or_else(|| format!("an unknown verse: {place}:{number}"))?;
            let words = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
            if words(verse.split(':').next().unwrap_or(verse)) != *known {
                return Err(format!("{place}:{number} differs").into());
            }
            verses += 1;
        }
        if verses != VERSES {
            return Err(format!("{verses} verses instead of {VERSES}").into());
        }
        Ok(())
    }
}
