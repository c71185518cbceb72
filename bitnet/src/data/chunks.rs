use std::io::{self, Read};

/// Largest chunk, in bytes. Tokenizers take a hundred times as much while they are at it.
pub(super) const BYTES_PER_CHUNK: usize = 1 << 18;

/// A piece of text, small enough to be held in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes.
    pub text: Vec<u8>,
    /// What ends after them.
    pub end: End,
}

/// What ends after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing: the document goes on.
    Within,
    /// A document that is a file of its own.
    File,
    /// A document that is one of a file's many.
    Record,
}

/// Cuts what a reader returns into chunks, between lines where there are any: tokens are nearly
/// always those of the whole.
#[derive(Debug)]
pub(super) struct Chunks<R> {
    reader: R,
    end: End,
    rest: Vec<u8>,
    began: bool,
    done: bool,
}

impl<R: Read> Chunks<R> {
    /// Chunks of a document that is an `end` of its own.
    pub(super) fn new(reader: R, end: End) -> Self {
        Self { reader, end, rest: Vec::new(), began: false, done: false }
    }
}

impl<R: Read> Iterator for Chunks<R> {
    type Item = io::Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let mut text = std::mem::take(&mut self.rest);
        let room = (BYTES_PER_CHUNK - text.len()) as u64;
        if let Err(error) = self.reader.by_ref().take(room).read_to_end(&mut text) {
            self.done = true;
            return Some(Err(error));
        }
        if text.len() < BYTES_PER_CHUNK {
            self.done = true;
            let is_empty = text.is_empty() && !self.began;
            return (!is_empty).then_some(Ok(Chunk { text, end: self.end }));
        }
        self.began = true;
        self.rest = text.split_off(cut(&text));
        Some(Ok(Chunk { text, end: End::Within }))
    }
}

/// Where to cut a full chunk, in its second half: best after a line break that stands alone, where
/// tokenizers split in any case; else after any line break; else between characters.
fn cut(text: &[u8]) -> usize {
    let breaks = || (text.len() / 2..text.len()).rev().filter(|&at| text[at - 1] == b'\n');
    let alone = |&at: &usize| !is_space(before(&text[..at - 1])) && !is_space(first(&text[at..]));
    let between_characters = || {
        let last = (1..=4).find(|&back| text[text.len() - back] & 0xC0 != 0x80).unwrap_or(4);
        let start = text.len() - last;
        match text[start].leading_ones() as usize {
            needed @ 2..=4 if needed > last => start,
            _ => text.len(),
        }
    };
    breaks().find(alone).or_else(|| breaks().next()).unwrap_or_else(between_characters)
}

fn is_space(character: Option<char>) -> bool {
    character.is_none_or(char::is_whitespace)
}

/// The first character, if it is one.
fn first(text: &[u8]) -> Option<char> {
    text[..text.len().min(4)].utf8_chunks().next()?.valid().chars().next()
}

/// The last character, if it is one.
fn before(text: &[u8]) -> Option<char> {
    let start = (1..=4.min(text.len())).find(|&back| text[text.len() - back] & 0xC0 != 0x80)?;
    first(&text[text.len() - start..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{Tokenizer, train_bpe};

    fn chunks(text: &[u8]) -> Vec<Chunk> {
        Chunks::new(text, End::File).map(Result::unwrap).collect()
    }

    fn lens(text: &[u8]) -> Vec<usize> {
        let chunks = chunks(text);
        let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.text.clone()).collect();
        assert_eq!(joined, text);
        let (last, others) = chunks.split_last().unwrap();
        assert_eq!(last.end, End::File);
        assert!(others.iter().all(|chunk| chunk.end == End::Within));
        chunks.iter().map(|chunk| chunk.text.len()).collect()
    }

    #[test]
    fn cuts_after_lines_then_between_characters() {
        assert_eq!(chunks(b""), []);
        assert_eq!(lens(b"ab"), [2]);
        assert_eq!(
            lens(&vec![b'a'; BYTES_PER_CHUNK]),
            [BYTES_PER_CHUNK, 0],
            "the end of the file is not lost"
        );
        assert_eq!(lens(&vec![b'a'; BYTES_PER_CHUNK + 1]), [BYTES_PER_CHUNK, 1]);

        let with = |at: usize, what: &str| {
            let mut text = vec![b'a'; BYTES_PER_CHUNK + 10];
            text[at..at + what.len()].copy_from_slice(what.as_bytes());
            lens(&text)[0]
        };
        assert_eq!(with(BYTES_PER_CHUNK - 9, "\n"), BYTES_PER_CHUNK - 8);
        assert_eq!(with(BYTES_PER_CHUNK - 9, "b\nñ b\n c\n"), BYTES_PER_CHUNK - 7);
        assert_eq!(with(BYTES_PER_CHUNK - 9, "\n\n"), BYTES_PER_CHUNK - 7);
        assert_eq!(with(9, "\n"), BYTES_PER_CHUNK, "not in the first half");
        assert_eq!(with(BYTES_PER_CHUNK - 1, "ñ"), BYTES_PER_CHUNK - 1);
        assert_eq!(with(BYTES_PER_CHUNK - 2, "語"), BYTES_PER_CHUNK - 2);
        assert_eq!(with(BYTES_PER_CHUNK - 3, "語"), BYTES_PER_CHUNK);
        assert_eq!(with(BYTES_PER_CHUNK - 1, "🦀"), BYTES_PER_CHUNK - 1);
        assert_eq!(lens(&vec![0x80; BYTES_PER_CHUNK + 2]), [BYTES_PER_CHUNK, 2]);
    }

    #[test]
    fn tokens_are_those_of_the_whole() {
        let line =
            |n: usize| format!("{n} In the  beginning, 1{n} — señor.\n{}", "\n".repeat(n % 3));
        let text: String = (0..60_000).map(line).collect();
        let tokenizer = train_bpe(400, (0..500).map(line)).unwrap();
        let chunks = chunks(text.as_bytes());
        assert!(chunks.len() > 2);
        let pieces: Vec<u32> =
            chunks.iter().flat_map(|chunk| tokenizer.encode(&chunk.text).unwrap()).collect();
        assert!(pieces == tokenizer.encode(text.as_bytes()).unwrap());
    }
}
