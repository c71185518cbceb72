//! TensorBoard's event files: TFRecords of protocol buffers.
//!
//! A record is its length (8 bytes, little-endian), the masked CRC-32C of these 8, the message,
//! and the masked CRC-32C of the message. Field numbers are those of TensorFlow's `event.proto`
//! and `summary.proto`.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use prost::Message;

use crate::run_folder::EVENTS;

/// What every file begins with.
const VERSION: &str = "brain.Event:2";
/// `SessionLog.START`
const START: i32 = 1;
/// `DT_STRING`
const STRING: i32 = 7;

/// `tensorflow.Event`
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<TensorProto>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    strings: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin: Option<Plugin>,
}

#[derive(Clone, PartialEq, Message)]
struct Plugin {
    #[prost(string, tag = "1")]
    name: String,
}

/// The events of one session of a run.
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in `folder`, whose first step is `step`: what earlier files say of it and
    /// later ones is void. That is how TensorBoard takes the start of a session, so that the
    /// steps which a killed session did after its last checkpoint do not count.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn start(folder: &Path, step: u64) -> anyhow::Result<Self> {
        let cannot_write = || format!("cannot write event files in {}", folder.display());
        let mut newest = (0, 0);
        for entry in fs::read_dir(folder).with_context(cannot_write)? {
            let name = entry.with_context(cannot_write)?.file_name();
            newest = newest.max(number(&name.to_string_lossy()).unwrap_or_default());
        }
        let (seconds, session) = newest;
        // In order, even where the clock is put back.
        let seconds = seconds.max(now() as u64);
        let path = folder.join(format!("{EVENTS}{seconds:010}.{:04}", session + 1));
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let mut events = Self { path, file };
        events.write(Event { file_version: Some(VERSION.into()), ..Event::at(0) })?;
        let session_log = Some(SessionLog { status: START });
        events.write(Event { session_log, ..Event::at(step) })?;
        Ok(events)
    }

    /// Adds numbers of a step, by tag.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> anyhow::Result<()> {
        let value = |&(tag, value): &(&str, f64)| Value {
            tag: tag.into(),
            simple_value: Some(value as f32),
            ..Value::default()
        };
        let summary = Some(Summary { value: values.iter().map(value).collect() });
        self.write(Event { summary, ..Event::at(step) })
    }

    /// Adds a text of a step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn text(&mut self, step: u64, tag: &str, text: &str) -> anyhow::Result<()> {
        let tensor = TensorProto {
            dtype: STRING,
            shape: Some(Shape { dim: vec![Dim { size: 1 }] }),
            strings: vec![text.as_bytes().to_vec()],
        };
        let value = Value {
            tag: tag.into(),
            simple_value: None,
            tensor: Some(tensor),
            metadata: Some(Metadata { plugin: Some(Plugin { name: "text".into() }) }),
        };
        self.write(Event { summary: Some(Summary { value: vec![value] }), ..Event::at(step) })
    }

    fn write(&mut self, event: Event) -> anyhow::Result<()> {
        self.file
            .write_all(&record(&event.encode_to_vec()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Event {
    fn at(step: u64) -> Self {
        Self { wall_time: now(), step: step as i64, ..Self::default() }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Time and session in the name of an event file.
fn number(name: &str) -> Option<(u64, u64)> {
    let (seconds, session) = name.strip_prefix(EVENTS)?.split_once('.')?;
    Some((seconds.parse().ok()?, session.parse().ok()?))
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked_crc(&length).to_le_bytes());
    bytes.extend(message);
    bytes.extend(masked_crc(message).to_le_bytes());
    bytes
}

/// TensorFlow's mask: sums of data that hold sums would else be weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file whose sums are right.
    fn read(path: &Path) -> Vec<Event> {
        let mut bytes = &fs::read(path).unwrap()[..];
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            let (sum, rest) = rest.split_at(4);
            assert_eq!(sum, masked_crc(length).to_le_bytes());
            let (message, rest) =
                rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (sum, rest) = rest.split_at(4);
            assert_eq!(sum, masked_crc(message).to_le_bytes());
            events.push(Event::decode(message).unwrap());
            bytes = rest;
        }
        events
    }

    #[test]
    fn sums_are_those_of_the_format() {
        // CRC-32C of "123456789" (RFC 3720's polynomial) is 0xe3069283; rotated by 15, plus the
        // constant.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(b"123456789"), 0x2507_c60du32.wrapping_add(0xa282_ead8));
        assert_eq!(record(b"abc").len(), 8 + 4 + 3 + 4);
    }

    #[test]
    fn an_event_has_the_bytes_of_the_schema() {
        let value = Value { tag: "a".into(), simple_value: Some(1.0), ..Value::default() };
        let summary = Some(Summary { value: vec![value] });
        let event = Event { wall_time: 2.0, step: 3, summary, ..Event::default() };
        #[rustfmt::skip]
        let expected = [
            0x09, 0, 0, 0, 0, 0, 0, 0, 0x40,              // 1: 2.0
            0x10, 3,                                      // 2: 3
            0x2a, 10, 0x0a, 8,                            // 5: { 1: {
            0x0a, 1, b'a', 0x15, 0, 0, 0x80, 0x3f,        //   1: "a", 2: 1.0 } }
        ];
        assert_eq!(event.encode_to_vec(), expected);
    }

    #[test]
    fn sessions_follow_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventFile::start(folder.path(), 1).unwrap();
        first.scalars(10, &[("loss", 2.5), ("rate", 0.5)]).unwrap();
        first.text(10, "sample", "In the beginning").unwrap();
        EventFile::start(folder.path(), 6).unwrap();

        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<PathBuf> = names.collect();
        names.sort();
        let [first, second] = &names[..] else { panic!("{names:?}") };
        let events = read(first);
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].file_version.as_deref(), Some(VERSION));
        assert_eq!((events[1].step, events[1].session_log.as_ref().unwrap().status), (1, START));
        let values = &events[2].summary.as_ref().unwrap().value;
        assert_eq!((events[2].step, values[1].simple_value), (10, Some(0.5)));
        let tensor = events[3].summary.as_ref().unwrap().value[0].tensor.clone().unwrap();
        assert_eq!(tensor.strings, [b"In the beginning"]);
        assert_eq!(read(second)[1].step, 6);
    }
}
