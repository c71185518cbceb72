use std::collections::HashMap;

use serde_json::Value;
use tokenizers::{
    DecoderWrapper, ModelWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerBuilder,
    TokenizerImpl,
};

use super::{
    SpecialToken, Tokenizer, TokenizerError, bos,
    byte_level::stand_ins,
    normalizer::{Steps, bounded},
    parts,
};
use crate::{formats::without_mark, panics::catch_panic, terminal};

/// Largest vocabulary that is read.
const MAX_TOKENS: usize = 1 << 24;
/// Ids that no token has, besides as many as there are tokens.
const MAX_HOLES: usize = 1 << 16;
/// What tokenizers call the token that ends a document, the first that is there.
const END_NAMES: [&str; 4] = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"];
/// What stands for a space in SentencePiece's tokens.
const SPACE_MARK: char = '▁';

/// A tokenizer of the Hugging Face `tokenizers` library whose tokens each stand for certain bytes:
/// byte-level BPE (GPT-2 and what followed), and SentencePiece's BPE and unigram models.
///
/// Special tokens are not looked for in a text: `<|endoftext|>` there is thirteen characters. Bytes
/// that are no UTF-8 become tokens of a byte each, where the vocabulary has them, else U+FFFD.
pub struct SubwordTokenizer {
    json: String,
    inner: Inner,
    /// The bytes of each token; none for special ones.
    bytes: Vec<Box<[u8]>>,
    /// The tokens of single bytes.
    singles: HashMap<u8, u32>,
    end_of_text: Option<u32>,
    bos_tokens: Vec<u32>,
    /// In the order of their ids.
    special: Vec<SpecialToken>,
    /// The token for characters that are not known.
    unknown: Option<u32>,
}

/// The library's tokenizer. What it would put around texts, and its decoder, are not used.
type Inner =
    TokenizerImpl<ModelWrapper, Steps, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

impl SubwordTokenizer {
    /// Reads the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Json`], or [`TokenizerError::Unsupported`] if the library cannot read it,
    /// or if its tokens have no bytes of their own.
    pub fn from_json(json: &str) -> Result<Self, TokenizerError> {
        let json = without_mark(json);
        let value: Value = serde_json::from_str(json)?;
        let library = catch_panic(|| Self::from_value(json, &value));
        library
            .unwrap_or_else(|_| Err("the library that reads it fails".into()))
            .map_err(|reason| TokenizerError::Unsupported(terminal::line(&reason)))
    }

    fn from_value(json: &str, value: &Value) -> Result<Self, String> {
        let inner = inner(value)?;
        let bytes_of = bytes_of(&value["decoder"])?;
        let vocabulary = inner.get_vocab(true);
        let size = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
        if !(1..=MAX_TOKENS.min(2 * vocabulary.len() + MAX_HOLES)).contains(&size) {
            let count = vocabulary.len();
            return Err(format!("the ids of its {count} tokens go up to {size}"));
        }
        let mut bytes: Vec<Box<[u8]>> = vec![Box::default(); size];
        for (token, &id) in &vocabulary {
            bytes[id as usize] = bytes_of(token).into();
        }
        let mut end_of_text = None;
        let mut special = Vec::new();
        for (id, token) in inner.get_added_tokens_decoder() {
            if !token.special {
                bytes[id as usize] = token.content.as_bytes().into();
                continue;
            }
            bytes[id as usize] = Box::default();
            let tokenizers::AddedToken { content: text, lstrip, rstrip, single_word, .. } = token;
            special.push(SpecialToken { id, text, lstrip, rstrip, single_word });
        }
        special.sort_unstable_by_key(|token| token.id);
        let unknown = match (&value["model"]["unk_id"], &value["model"]["unk_token"]) {
            (Value::Number(id), _) => id.as_u64().and_then(|id| u32::try_from(id).ok()),
            (_, Value::String(token)) => inner.token_to_id(token),
            _ => None,
        };
        let mut bos_tokens = bos::tokens(&value["post_processor"]);
        bos_tokens.retain(|&id| (id as usize) < size);
        for name in END_NAMES.into_iter().rev() {
            let id = inner.token_to_id(name).filter(|&id| bytes[id as usize].is_empty());
            end_of_text = id.or(end_of_text);
        }
        let mut singles = HashMap::new();
        for (id, bytes) in bytes.iter().enumerate() {
            if let [byte] = bytes[..] {
                singles.insert(byte, id as u32);
            }
        }

        Ok(Self {
            json: json.into(),
            inner,
            bytes,
            singles,
            end_of_text,
            bos_tokens,
            special,
            unknown,
        })
    }

    /// The tokens that the library finds.
    fn found(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encode = || bounded(text.len(), || self.inner.encode_fast(text, false));
        let encoding = catch_panic(encode)
            .map_err(|_| TokenizerError::Encode("the library that uses it fails".into()))?
            .map_err(TokenizerError::Encode)?;
        // Models that can fail are refused.
        let failed = |error: tokenizers::Error| terminal::line(&error.to_string());
        let encoding = encoding.map_err(|error| TokenizerError::Encode(failed(error)))?;
        Ok(encoding.get_ids().to_vec())
    }

    fn encode_text(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        for token in self.found(text)? {
            match self.is_special(token) {
                true => self.encode_letters(token, tokens)?,
                false => tokens.push(token),
            }
        }
        Ok(())
    }

    /// Whether a token stands for no text, not even for one that is not known.
    fn is_special(&self, token: u32) -> bool {
        self.bytes.get(token as usize).is_some_and(|bytes| bytes.is_empty())
            && Some(token) != self.unknown
            && self.special.binary_search_by_key(&token, |special| special.id).is_ok()
    }

    /// A special token that a model found in a text, as a unigram model may, letter by letter.
    fn encode_letters(&self, token: u32, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        for letter in self.inner.id_to_token(token).unwrap_or_default().chars() {
            let found = self.found(&letter.to_string())?;
            tokens.extend(found.into_iter().filter(|&id| !self.is_special(id)));
        }
        Ok(())
    }

    fn encode_byte(&self, byte: u8, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        match self.singles.get(&byte) {
            Some(&token) => tokens.push(token),
            None => tokens.extend(self.found("\u{fffd}")?),
        }
        Ok(())
    }
}

impl Tokenizer for SubwordTokenizer {
    fn vocab_size(&self) -> usize {
        self.bytes.len()
    }

    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = Vec::new();
        for chunk in bytes.utf8_chunks() {
            if !chunk.valid().is_empty() {
                self.encode_text(chunk.valid(), &mut tokens)?;
            }
            for &byte in chunk.invalid() {
                self.encode_byte(byte, &mut tokens)?;
            }
        }
        Ok(tokens)
    }

    fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        let bytes = tokens.iter().filter_map(|&token| self.bytes.get(token as usize));
        bytes.flat_map(|bytes| bytes.iter().copied()).collect()
    }

    fn end_of_text(&self) -> Option<u32> {
        self.end_of_text
    }

    fn bos_tokens(&self) -> &[u32] {
        &self.bos_tokens
    }

    fn special_tokens(&self) -> &[SpecialToken] {
        &self.special
    }

    fn to_json(&self) -> String {
        self.json.clone()
    }
}

/// Builds the library's tokenizer of the parts that are used.
fn inner(value: &Value) -> Result<Inner, String> {
    if value["version"].as_str().is_some_and(|version| version != "1.0") {
        return Err("it is of another version than 1.0".into());
    }
    let normalizer = Steps::new(&value["normalizer"])?;
    let added = parts::added_tokens(&value["added_tokens"], &normalizer)?;
    let mut inner: Inner = TokenizerBuilder::new()
        .with_model(parts::model(&value["model"])?)
        .with_normalizer((!value["normalizer"].is_null()).then_some(normalizer))
        .with_pre_tokenizer(parts::pre_tokenizer(&value["pre_tokenizer"])?)
        .build()
        .map_err(|error| error.to_string())?;
    let bytes = added.iter().map(|token| token.content.len()).sum();
    bounded(bytes, || inner.add_tokens(&added))?;
    inner.set_encode_special_tokens(true);
    Ok(inner)
}

/// From a token to its bytes.
type BytesOf = Box<dyn Fn(&str) -> Vec<u8>>;

/// How the decoder makes bytes of a token.
fn bytes_of(decoder: &Value) -> Result<BytesOf, String> {
    let mut steps = Vec::new();
    flatten(decoder, &mut steps);
    if steps.is_empty() {
        return Err("it has no decoder".into());
    }
    if steps.contains(&"ByteLevel") {
        let bytes: HashMap<char, u8> = stand_ins().into_iter().zip(0..=u8::MAX).collect();
        return Ok(Box::new(move |token| {
            let mut buffer = [0; 4];
            let mut all = Vec::new();
            for character in token.chars() {
                match bytes.get(&character) {
                    Some(&byte) => all.push(byte),
                    None => all.extend(character.encode_utf8(&mut buffer).bytes()),
                }
            }
            all
        }));
    }
    let sentencepiece = ["Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"];
    if !steps.iter().all(|step| sentencepiece.contains(step)) {
        return Err("its decoder is neither byte-level nor SentencePiece's".into());
    }
    Ok(Box::new(|token| {
        // A byte of its own is written as <0x0A>.
        let hex = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        match hex.filter(|hex| hex.len() == 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => vec![byte],
            None => token.replace(SPACE_MARK, " ").into_bytes(),
        }
    }))
}

/// The kinds of a decoder's steps.
fn flatten<'v>(decoder: &'v Value, kinds: &mut Vec<&'v str>) {
    match decoder["type"].as_str() {
        Some("Sequence") => {
            let steps = decoder["decoders"].as_array().map_or(&[][..], Vec::as_slice);
            steps.iter().for_each(|step| flatten(step, kinds));
        }
        Some(kind) => kinds.push(kind),
        None if decoder.is_null() => {}
        None => kinds.push("none"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A unigram model in the manner of SentencePiece.
    fn sentencepiece() -> Value {
        json!({
            "version": "1.0",
            "added_tokens": [
                {"id": 0, "content": "<unk>", "special": true, "single_word": false,
                 "lstrip": false, "rstrip": false, "normalized": false},
                {"id": 1, "content": "</s>", "special": true, "single_word": false,
                 "lstrip": false, "rstrip": false, "normalized": false},
            ],
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": null,
            "post_processor": null,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ]},
            "model": {
                "type": "Unigram",
                "unk_id": 0,
                "byte_fallback": true,
                "vocab": [["<unk>", 0.0], ["</s>", 0.0], ["▁the", -1.0], ["a", -2.0],
                          ["<0xC3>", -9.0], ["<0xB1>", -9.0], ["<0xFF>", -9.0]],
            },
        })
    }

    #[test]
    fn sentencepiece_by_hand() {
        let tokenizer = SubwordTokenizer::from_json(&sentencepiece().to_string()).unwrap();
        let text = b" the\xffa\xc3\xb1";
        assert_eq!(tokenizer.encode(text).unwrap(), [2, 6, 3, 4, 5]);
        assert_eq!(tokenizer.decode(&[2, 6, 3, 4, 5]), text);
        assert_eq!((tokenizer.vocab_size(), tokenizer.end_of_text()), (7, Some(1)));
        // The text of a special token is text.
        assert!(!tokenizer.encode(b"</s>").unwrap().contains(&1));
        assert_eq!(tokenizer.decode(&[1, 99]), b"");
    }

    #[test]
    fn what_has_no_bytes_of_its_own_is_refused() {
        let refused = |change: fn(&mut Value)| {
            let mut value = sentencepiece();
            change(&mut value);
            match SubwordTokenizer::from_json(&value.to_string()) {
                Err(TokenizerError::Unsupported(reason)) => reason,
                _ => panic!("{value} is no error"),
            }
        };
        assert_eq!(refused(|json| json["decoder"] = Value::Null), "it has no decoder");
        assert_eq!(
            refused(|json| json["model"]["unk_id"] = Value::Null),
            "it has no unknown token"
        );
        let wordpiece = |json: &mut Value| {
            json["decoder"] = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
        };
        assert!(refused(wordpiece).contains("decoder"));
        assert!(!refused(|json| json["model"] = json!({})).is_empty());
    }
}
