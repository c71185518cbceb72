use std::ops::Range;

use super::Tokens;
use crate::tokenizer::Tokenizer;

/// The parts of a text, as stretches of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// What is trained on.
    pub training: Range<usize>,
    /// What is held out to watch the training.
    pub validation: Range<usize>,
    /// What is held out to the end.
    pub test: Range<usize>,
    /// Bytes of the training part.
    pub training_bytes: usize,
}

impl Split {
    /// Splits by position in *bytes*, so that the parts are the same for every tokenizer, to the
    /// token: the last `test` of the text, before it `validation`, and the rest.
    pub fn new(tokens: &Tokens, tokenizer: &dyn Tokenizer, validation: f64, test: f64) -> Self {
        let ids = 0..tokenizer.vocab_size() as u32;
        let lens: Vec<usize> = ids.map(|token| tokenizer.decode(&[token]).len()).collect();
        let len_of = |token: u32| lens.get(token as usize).copied().unwrap_or(0);
        let bytes: usize = tokens.iter().map(len_of).sum();
        let share = |share: f64| (bytes as f64 * share.clamp(0.0, 1.0)).round() as usize;
        let test = bytes - share(test);
        let validation = test.saturating_sub(share(validation));

        let mut starts = [tokens.len(); 2];
        let mut training_bytes = bytes;
        let mut position = 0;
        for (index, token) in tokens.iter().enumerate() {
            if starts[0] == tokens.len() && position >= validation && validation < bytes {
                starts[0] = index;
                training_bytes = position;
            }
            if position >= test && test < bytes {
                starts[1] = index;
                break;
            }
            position += len_of(token);
        }
        let [validation, test] = starts;
        Self {
            training: 0..validation,
            validation: validation..test,
            test: test..tokens.len(),
            training_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{ByteTokenizer, train_bpe};

    #[test]
    fn bytes_by_hand() {
        let tokens = Tokens::from(vec![1; 100]);
        let split = |validation, test| {
            let split = Split::new(&tokens, &ByteTokenizer, validation, test);
            assert_eq!(split.training.len(), split.training_bytes);
            (split.training, split.validation, split.test)
        };
        assert_eq!(split(0.1, 0.0), (0..90, 90..100, 100..100));
        assert_eq!(split(0.05, 0.05), (0..90, 90..95, 95..100));
        assert_eq!(split(0.0, 0.0), (0..100, 100..100, 100..100));
        assert_eq!(split(0.0, 0.2), (0..80, 80..80, 80..100));
        assert_eq!(split(0.9, 0.2), (0..0, 0..80, 80..100));
    }

    #[test]
    fn other_tokenizers_split_the_same_text() {
        let texts = || (0..500).map(|n| format!("In the beginning {n}.\n"));
        let tokenizer = train_bpe(300, texts()).unwrap();
        let text: String = texts().collect();
        let mut ids = tokenizer.encode(text.as_bytes()).unwrap();
        ids.push(tokenizer.end_of_text().unwrap());
        let tokens = Tokens::from(ids);
        let split = Split::new(&tokens, &tokenizer, 0.1, 0.05);
        let bytes_of =
            |part: &Range<usize>| tokenizer.decode(&tokens.range(part.clone()).collect::<Vec<_>>());
        let longest = 20;
        let near = |actual: usize, share: f64| {
            let expected = text.len() as f64 * share;
            assert!((actual as f64 - expected).abs() < f64::from(longest), "{actual}, {expected}");
        };
        near(bytes_of(&split.validation).len(), 0.1);
        near(bytes_of(&split.test).len(), 0.05);
        assert_eq!(bytes_of(&split.training).len(), split.training_bytes);
        assert_eq!(split.test.end, tokens.len());
    }
}
