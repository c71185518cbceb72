use tokenizers::{
    AddedToken, TokenizerBuilder,
    models::bpe::{BPE, BpeTrainer},
    normalizers::NormalizerWrapper,
    pre_tokenizers::byte_level::ByteLevel,
};

use super::{SubwordTokenizer, TokenizerError};

/// The token with which [`train_bpe`] has documents end.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// All bytes and the end of a text.
const MIN_TOKENS: usize = 257;
/// What a token file holds in two bytes per token.
const MAX_TOKENS: usize = 1 << 16;

/// Most characters of a word that are learned from together. Training takes a time that grows with
/// the square of a word, and no token is as long.
const MAX_WORD: usize = 256;

/// Trains a byte-level BPE as GPT-2's: `vocab_size` tokens, of which 0 is [`END_OF_TEXT`] and 256
/// are the bytes, so that any text can be encoded and none is lost. From the same texts comes the
/// same tokenizer. From a short text there are fewer tokens. Words of more than 256 characters are
/// cut.
///
/// # Errors
/// [`TokenizerError::Vocabulary`] and [`TokenizerError::Training`].
pub fn train_bpe(
    vocab_size: usize,
    texts: impl Iterator<Item = String> + Send,
) -> Result<SubwordTokenizer, TokenizerError> {
    if !(MIN_TOKENS..=MAX_TOKENS).contains(&vocab_size) {
        let (min, max) = (MIN_TOKENS, MAX_TOKENS);
        return Err(TokenizerError::Vocabulary { actual: vocab_size, min, max });
    }
    let failed = |error: tokenizers::Error| TokenizerError::Training(error.to_string());
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        // Its bars leave empty lines on standard output.
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let byte_level = ByteLevel::new(false, false, true);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<NormalizerWrapper>)
        .with_pre_tokenizer(Some(byte_level))
        .with_post_processor(None::<ByteLevel>)
        .with_decoder(Some(byte_level))
        .build()
        .map_err(failed)?;
    tokenizer.train(&mut trainer, texts.flat_map(cut)).map_err(failed)?;
    SubwordTokenizer::from_json(&(tokenizer.to_string(true).map_err(failed)? + "\n"))
}

/// A text in parts, which end within each word that is too long: a word is at most a row of
/// characters that are all white space or all none.
fn cut(text: String) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut start, mut word, mut was_space) = (0, 0, false);
    for (at, character) in text.char_indices() {
        let is_space = character.is_whitespace();
        word = if is_space == was_space { word + 1 } else { 1 };
        was_space = is_space;
        if word > MAX_WORD {
            parts.push(text[start..at].to_owned());
            (start, word) = (at, 1);
        }
    }
    match start {
        0 => vec![text],
        _ => {
            parts.push(text[start..].to_owned());
            parts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{Tokenizer, load};

    fn texts() -> impl Iterator<Item = String> + Send {
        (0..200).map(|n| format!("In the beginning, {n} — señor, they're  here.\n\n"))
    }

    fn train(vocab_size: usize) -> SubwordTokenizer {
        train_bpe(vocab_size, texts()).unwrap()
    }

    #[test]
    fn trains_merges_reproducibly() {
        let tokenizer = train(300);
        assert_eq!(tokenizer.vocab_size(), 300);
        assert_eq!(tokenizer.to_json(), train(300).to_json());
        let tokens = tokenizer.encode(b"In the beginning").unwrap();
        assert!(tokens.len() < 10, "{tokens:?}");
        assert_eq!(tokenizer.end_of_text(), Some(0));
        assert!(!tokenizer.encode(END_OF_TEXT.as_bytes()).unwrap().contains(&0));
    }

    #[test]
    fn long_words_are_cut() {
        let whole = "a short text of  words\n".repeat(50);
        assert_eq!(cut(whole.clone()), std::slice::from_ref(&whole));
        let spaces = " ".repeat(MAX_WORD);
        let word = "ñ".repeat(MAX_WORD);
        let long = format!("b {word}{word}c{spaces} {whole}");
        let parts = cut(long.clone());
        assert_eq!(parts.concat(), long);
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[0], format!("b {word}"));
        assert_eq!(parts[1], word);
        assert_eq!(parts[2], format!("c{spaces}"));
        assert!(cut(String::new()).concat().is_empty());
    }

    /// The work of a training is a number of steps in each word: with words of a bounded length
    /// it grows with the text, not with its square.
    #[test]
    fn a_line_of_letters_is_no_trouble() {
        let letters = |count: usize| {
            let next = |state: &mut u32| {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some(char::from(b'a' + (*state >> 28) as u8))
            };
            let mut state = 1_u32;
            std::iter::from_fn(move || next(&mut state)).take(count).collect::<String>()
        };
        let tokenizer = train_bpe(600, [letters(200_000)].into_iter()).unwrap();
        assert_eq!(tokenizer.vocab_size(), 600);
        let longest = (0..600).map(|token| tokenizer.decode(&[token]).len()).max();
        assert!(longest.unwrap() <= MAX_WORD);
    }

    #[test]
    fn the_file_reads_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tokenizer = train(280);
        std::fs::write(file.path(), tokenizer.to_json()).unwrap();
        let read = load(file.path()).unwrap();
        let text = "the ñ 語\u{0}\r\n".as_bytes();
        assert_eq!(read.encode(text).unwrap(), tokenizer.encode(text).unwrap());
        assert_eq!(read.to_json(), tokenizer.to_json());
    }

    #[test]
    fn other_sizes_are_refused() {
        for size in [0, 256, (1 << 16) + 1] {
            let error = train_bpe(size, texts()).err().unwrap();
            assert!(matches!(error, TokenizerError::Vocabulary { .. }));
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

        /// Whatever the bytes, they come back, token by token.
        #[test]
        fn nothing_is_lost(bytes: Vec<u8>, text: String) {
            let tokenizer = train(280);
            for bytes in [&bytes, text.as_bytes()] {
                let tokens = tokenizer.encode(bytes).unwrap();
                let pieces: Vec<u8> =
                    tokens.iter().flat_map(|&token| tokenizer.decode(&[token])).collect();
                assert_eq!(pieces, bytes);
            }
        }
    }
}
