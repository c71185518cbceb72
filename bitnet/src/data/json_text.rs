//! The text in one JSON object, as Python's `json` writes and reads it: with `NaN` and `Infinity`,
//! and with halves of surrogate pairs in strings.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::records::Row;

/// Names that are told where the field is missing.
const MAX_NAMES_TOLD: usize = 8;

/// The string in `field` of an object. Dots in its name lead into objects within, where it is not
/// a name as it stands.
pub(super) fn text(json: &[u8], field: &str) -> Row {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    if let Err(error) = std::str::from_utf8(json) {
        return Row::Bad(format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1));
    }
    let found = find(json, field).or_else(|error| match without_python(json) {
        Some(plain) => find(&plain, field),
        None => Err(error),
    });
    match found {
        Ok(Found::Text(text)) => Row::Text(without_halves(text)),
        Ok(Found::Null) => Row::Null,
        Ok(Found::NoObject) => Row::Bad("no JSON object".into()),
        Ok(Found::NoString) => Row::Bad(no_string(field)),
        Ok(Found::Missing(names)) => Row::Missing(format!(
            "no field \"{field}\" (data.text_field); there is {}",
            names.join(", ")
        )),
        // Nothing but the field must be of a type.
        Err(error) if error.is_data() => Row::Bad(no_string(field)),
        Err(error) => {
            // The position within its input names a line, too, which is not that of the file.
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            let lines = json.split_inclusive(|&byte| byte == b'\n').take(error.line() - 1);
            let byte = lines.map(<[u8]>::len).sum::<usize>() + error.column();
            Row::Bad(format!("no valid JSON: {reason} at byte {byte}"))
        }
    }
}

fn no_string(field: &str) -> String {
    format!("field \"{field}\" is no string")
}

fn find(json: &[u8], field: &str) -> serde_json::Result<Found> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let found = Object { field, whole: true }.deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

/// The same with zeros for the numbers that only Python knows; `None` if there are none.
fn without_python(json: &[u8]) -> Option<Vec<u8>> {
    let mut plain = json.to_vec();
    let (mut at, mut within, mut any) = (0, false, false);
    while let Some(&byte) = json.get(at) {
        let number: Option<&[u8]> = match (within, byte) {
            (true, b'\\') => {
                at += 2;
                continue;
            }
            (_, b'"') => {
                within = !within;
                None
            }
            (false, b'N') => Some(b"NaN"),
            (false, b'I') => Some(b"Infinity"),
            _ => None,
        };
        match number.filter(|number| json[at..].starts_with(number)) {
            Some(number) => {
                // As long as it was, so that positions are those of the file.
                plain[at..at + number.len()].fill(b'0');
                plain[at + 1] = b'.';
                at += number.len();
                any = true;
            }
            None => at += 1,
        }
    }
    any.then_some(plain)
}

/// UTF-8 of what may have halves of surrogate pairs in it, as three bytes each.
fn without_halves(mut text: Vec<u8>) -> Vec<u8> {
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&text[from..]) {
        let at = from + error.valid_up_to();
        from = (at + 3).min(text.len());
        text[at..from].copy_from_slice(&"\u{fffd}".as_bytes()[..from - at]);
    }
    text
}

enum Found {
    Text(Vec<u8>),
    Null,
    NoString,
    NoObject,
    /// The names that there are.
    Missing(Vec<String>),
}

/// Finds a field in an object.
struct Object<'a> {
    field: &'a str,
    /// Whether the object is the whole, and not one within.
    whole: bool,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Found, D::Error> {
        json.deserialize_any(self)
    }
}

impl Object<'_> {
    /// What something else than an object is.
    fn other<E>(&self) -> Result<Found, E> {
        Ok(if self.whole { Found::NoObject } else { Found::Missing(Vec::new()) })
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Found, A::Error> {
        let mut names = Vec::new();
        let (mut found, mut within) = (None, None);
        // Of two fields of a name, the last counts, as in Python.
        while let Some(name) = object.next_key_seed(Bytes)? {
            if name == self.field.as_bytes() {
                found = Some(object.next_value_seed(Text)?);
                continue;
            }
            let rest = self.field.as_bytes().strip_prefix(&name[..]);
            match rest.and_then(|rest| rest.strip_prefix(b".")) {
                Some(rest) => {
                    let field = &self.field[self.field.len() - rest.len()..];
                    within = Some(object.next_value_seed(Object { field, whole: false })?);
                }
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
            if names.len() < MAX_NAMES_TOLD {
                names.push(String::from_utf8_lossy(&name).into_owned());
            }
        }
        Ok(match found.or(within) {
            Some(Found::Missing(inner)) if !inner.is_empty() => Found::Missing(inner),
            Some(Found::Missing(_)) | None => Found::Missing(names),
            Some(found) => found,
        })
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        if self.whole { Ok(Found::NoObject) } else { Ok(Found::Null) }
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        self.other()
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        self.other()
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        self.other()
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        self.other()
    }

    fn visit_str<E>(self, _: &str) -> Result<Found, E> {
        self.other()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Found, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        self.other()
    }
}

/// The value of the field.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Found, D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_none<E>(self) -> Result<Found, E> {
        Ok(Found::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Found, D::Error> {
        // As bytes, strings may have halves of surrogate pairs.
        json.deserialize_bytes(self)
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<Found, E> {
        Ok(Found::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Found, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::NoString)
    }
}

/// The bytes of a name.
struct Bytes;

impl<'de> DeserializeSeed<'de> for Bytes {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<u8>, D::Error> {
        json.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Vec<u8>, E> {
        Ok(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Row {
        Row::Text(text.into())
    }

    #[test]
    fn what_python_writes_is_read() {
        for (json, expected) in [
            (r#"{"text": "a"}"#, "a"),
            (r#"{"n": NaN, "text": "NaN \"NaN", "m": [-Infinity, Infinity]}"#, "NaN \"NaN"),
            ("\u{feff}{\"text\": \"a\"}", "a"),
            (r#"{"text": "a\ud800b\udc00\ud83e\udd80\ud83e"}"#, "a\u{fffd}b\u{fffd}🦀\u{fffd}"),
            (r#"{"\ud800": "\udc00", "text": "\ud800\ud83e\udd80"}"#, "\u{fffd}🦀"),
            (r#"{"n": 1e999, "text": "first", "text": "last"}"#, "last"),
            (r#"{"text": "語\u00f1"}"#, "語ñ"),
        ] {
            assert_eq!(text(json.as_bytes(), "text"), found(expected), "{json}");
        }
        let deep = format!("{{\"a\": {}{}, \"text\": \"a\"}}", "[".repeat(9999), "]".repeat(9999));
        assert_eq!(text(deep.as_bytes(), "text"), found("a"));
    }

    #[test]
    fn names_with_dots_lead_within() {
        for (json, expected) in [
            (r#"{"a": {"b": {"c": "in"}}}"#, "in"),
            (r#"{"a.b": {"c": "in"}}"#, "in"),
            (r#"{"a.b.c": "flat", "a": {"b": {"c": "in"}}}"#, "flat"),
            (r#"{"a": {"b.c": "in"}}"#, "in"),
        ] {
            assert_eq!(text(json.as_bytes(), "a.b.c"), found(expected), "{json}");
        }
        assert_eq!(text(br#"{"a": {"b": null}}"#, "a.b.c"), Row::Null);
        assert_eq!(text(br#"{"a": {"b": {"c": null}}}"#, "a.b.c"), Row::Null);
        let missing = |json: &[u8], there: &str| {
            let reason = format!("no field \"a.b\" (data.text_field); there is {there}");
            assert_eq!(text(json, "a.b"), Row::Missing(reason));
        };
        missing(br#"{"a": {"c": 1}}"#, "c");
        missing(br#"{"a": 5, "d": 6}"#, "a, d");
        missing(br#"{"a": "b"}"#, "a");
        missing(br#"{"a": [{"b": "c"}]}"#, "a");
        missing(br#"{"ab": 1}"#, "ab");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, expected) in [
            (&b"{\"text\": "[..], "no valid JSON: EOF while parsing a value at byte 9"),
            (b"{\"n\": NaN, \"text\": ", "no valid JSON: EOF while parsing a value at byte 19"),
            (b"{\"n\": Nan, \"text\": \"\"}", "no valid JSON: expected value at byte 7"),
            (b"{\n\"text\": x}", "no valid JSON: expected value at byte 11"),
            (b"{\"text\": \"a\"} {", "no valid JSON: trailing characters at byte 15"),
            (b"[]", "no JSON object"),
            (b"null", "no JSON object"),
            (b"\"text\"", "no JSON object"),
            (b"NaN", "no JSON object"),
            (b"{\"text\": 5}", "field \"text\" is no string"),
            (b"{\"text\": NaN}", "field \"text\" is no string"),
            (b"{\"text\": [\"a\"]}", "field \"text\" is no string"),
            (b"{\"text\": {}}", "field \"text\" is no string"),
            (b"{\"text\": true}", "field \"text\" is no string"),
            (b"{\"text\": \"\xff\"}", "invalid UTF-8 at byte 11"),
        ] {
            assert_eq!(text(json, "text"), Row::Bad(expected.into()));
        }
        assert_eq!(text(b"{\"text\": null}", "text"), Row::Null);
    }
}
