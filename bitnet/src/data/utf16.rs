use std::io::{self, Read};

use super::magic::Mark;

/// From bytes to a unit.
type Decode = fn([u8; 2]) -> u16;

/// The text without its mark, in UTF-8.
pub(super) fn decoded<'a>(
    mark: Mark,
    mut reader: Box<dyn Read + Send + 'a>,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let (len, decode): (_, Option<Decode>) = match mark {
        Mark::None => return Ok(reader),
        Mark::Utf8 => (3, None),
        Mark::Utf16Le => (2, Some(u16::from_le_bytes)),
        Mark::Utf16Be => (2, Some(u16::from_be_bytes)),
    };
    reader.read_exact(&mut [0; 3][..len])?;
    Ok(match decode {
        None => reader,
        Some(decode) => Box::new(Utf16 { reader, decode, lead: None, text: Vec::new(), at: 0 }),
    })
}

/// UTF-16 as UTF-8. What is no character becomes U+FFFD.
struct Utf16<R> {
    reader: R,
    decode: Decode,
    /// The first half of a pair, whose second has not come yet.
    lead: Option<u16>,
    text: Vec<u8>,
    at: usize,
}

impl<R: Read> Utf16<R> {
    /// Decodes the next piece; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut bytes = Vec::new();
        self.reader.by_ref().take(1 << 16).read_to_end(&mut bytes)?;
        if bytes.is_empty() && self.lead.is_none() {
            return Ok(false);
        }
        let (pairs, odd) = bytes.as_chunks();
        let mut units: Vec<u16> = self.lead.take().into_iter().collect();
        units.extend(pairs.iter().map(|&pair| (self.decode)(pair)));
        if !pairs.is_empty() {
            self.lead = units.pop_if(|unit| (0xd800..0xdc00).contains(unit));
        }
        let characters = char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}'));
        let mut text: String = characters.collect();
        if !odd.is_empty() {
            text.push('\u{fffd}');
        }
        (self.text, self.at) = (text.into_bytes(), 0);
        Ok(true)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let read = (&self.text[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        decoded(Mark::of(file), Box::new(file)).unwrap().read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn texts_are_the_same_in_every_encoding() {
        // Pairs lie across the pieces that are decoded together.
        let text = "a".to_owned() + &"añ語🦀\n".repeat(30_000);
        let units = || text.encode_utf16();
        let le: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        assert!(read(&[b"\xff\xfe", &le[..]].concat()) == text.as_bytes());
        assert!(read(&[b"\xfe\xff", &be[..]].concat()) == text.as_bytes());
        assert!(read(&[b"\xef\xbb\xbf", text.as_bytes()].concat()) == text.as_bytes());
        assert!(read(text.as_bytes()) == text.as_bytes());
    }

    #[test]
    fn halves_become_replacements() {
        let expect = |units: &[u16], odd: &[u8], expected: &str| {
            let units: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            assert_eq!(read(&[b"\xff\xfe", &units[..], odd].concat()), expected.as_bytes());
        };
        expect(&[], b"", "");
        expect(&[0x61, 0xd83e], b"", "a\u{fffd}");
        expect(&[0xdd80, 0x61], b"", "\u{fffd}a");
        expect(&[0xd83e], b"", "\u{fffd}");
        expect(&[0x61], b"b", "a\u{fffd}");
        expect(&[0xd83e, 0xd83e, 0xdd80], b"", "\u{fffd}🦀");
    }
}
