use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{BackendError, BackendKind};

/// The kinds of device that names begin with. `gpu` is any of them that is not `cpu`.
const DEVICE_KINDS: [&str; 7] = ["cpu", "cuda", "discrete", "gpu", "integrated", "mps", "virtual"];

/// A device as a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum DeviceChoice {
    /// By its place among the backend's devices; 0 is the default, and the fastest kind.
    Index(usize),
    /// By its name: a kind, and which of that kind, as in `cuda:0`.
    Name {
        /// `cpu`, `cuda`, `mps`, `discrete`, `integrated`, `virtual`, or `gpu` for any but `cpu`.
        kind: String,
        /// Which of that kind, from 0.
        index: usize,
    },
}

impl Default for DeviceChoice {
    fn default() -> Self {
        Self::Index(0)
    }
}

impl DeviceChoice {
    /// The place of the chosen device among `devices`.
    pub(super) fn find(
        &self,
        backend: BackendKind,
        devices: &[DeviceInfo],
    ) -> Result<usize, BackendError> {
        let found = match self {
            Self::Index(index) => (*index < devices.len()).then_some(*index),
            Self::Name { kind, index } if kind == "gpu" => {
                let mut gpus = (0..devices.len()).filter(|&i| devices[i].id != "cpu");
                gpus.nth(*index)
            }
            Self::Name { .. } => {
                let id = self.to_string();
                devices.iter().position(|device| device.id == id)
            }
        };
        found.ok_or_else(|| BackendError::DeviceNotFound {
            kind: backend,
            choice: self.to_string(),
            found: devices.iter().map(|device| &*device.id).collect::<Vec<_>>().join(", "),
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = BackendError;

    fn from_str(text: &str) -> Result<Self, BackendError> {
        let unknown = || BackendError::UnknownDevice(text.into());
        if let Ok(index) = text.parse() {
            return Ok(Self::Index(index));
        }
        let (kind, index) = text.split_once(':').unwrap_or((text, "0"));
        if !DEVICE_KINDS.contains(&kind) {
            return Err(unknown());
        }
        Ok(Self::Name { kind: kind.into(), index: index.parse().map_err(|_| unknown())? })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            // There is one of each.
            Self::Name { kind, index: 0 } if kind == "cpu" || kind == "mps" => f.write_str(kind),
            Self::Name { kind, index } => write!(f, "{kind}:{index}"),
        }
    }
}

/// As it stands in a file: a number or a string.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a device is a number or a string")]
enum Written {
    Index(usize),
    Name(String),
}

impl TryFrom<Written> for DeviceChoice {
    type Error = BackendError;

    fn try_from(written: Written) -> Result<Self, BackendError> {
        match written {
            Written::Index(index) => Ok(Self::Index(index)),
            Written::Name(name) => name.parse(),
        }
    }
}

impl From<DeviceChoice> for Written {
    fn from(choice: DeviceChoice) -> Self {
        match choice {
            DeviceChoice::Index(index) => Self::Index(index),
            name => Self::Name(name.to_string()),
        }
    }
}

/// A device that a backend finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What a configuration calls it: `cpu`, `cuda:0`, `integrated:1`.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// Its memory, as far as the backend can tell.
    pub memory: Memory,
}

/// What is known of a device's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// All of it.
    Total(u64),
    /// The largest single buffer: all that wgpu tells.
    LargestBuffer(u64),
    /// Nothing.
    Unknown,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        match *self {
            Self::Total(bytes) => write!(f, "{:.1} GiB", gib(bytes)),
            Self::LargestBuffer(bytes) => write!(f, "buffers of {:.1} GiB", gib(bytes)),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A device that was found, as its backend knows it.
pub(super) struct Found<D> {
    pub(super) info: DeviceInfo,
    pub(super) device: D,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Vec<DeviceInfo> {
        let device =
            |id: &str| DeviceInfo { id: id.into(), name: String::new(), memory: Memory::Unknown };
        ["discrete:0", "discrete:1", "integrated:0", "cpu"].map(device).into()
    }

    fn find(text: &str) -> Result<usize, BackendError> {
        text.parse::<DeviceChoice>()?.find(BackendKind::Wgpu, &devices())
    }

    #[test]
    fn devices_are_found_by_number_name_and_alias() {
        for (text, index) in [
            ("0", 0),
            ("3", 3),
            ("discrete", 0),
            ("discrete:1", 1),
            ("integrated:0", 2),
            ("gpu", 0),
            ("gpu:2", 2),
            ("cpu", 3),
            ("cpu:0", 3),
        ] {
            assert_eq!(find(text).unwrap(), index, "{text}");
        }
    }

    #[test]
    fn absent_and_impossible_devices_are_errors() {
        for text in ["4", "discrete:2", "gpu:3", "cuda:0", "cpu:1"] {
            let error = find(text).unwrap_err().to_string();
            let words = format!(
                "backend \"wgpu\" has no device {text} (found: discrete:0, discrete:1, \
                 integrated:0, cpu)"
            );
            assert_eq!(error, words);
        }
        for text in ["", "tpu", "cuda:", "cuda:x", "cuda:-1", ":0", "gpu 0"] {
            assert!(matches!(find(text), Err(BackendError::UnknownDevice(_))), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["0", "12", "\"cpu\"", "\"cuda:1\"", "\"gpu:0\""] {
            let choice: DeviceChoice = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&choice).unwrap(), text);
        }
        assert!(serde_json::from_str::<DeviceChoice>("true").is_err());
        assert!(serde_json::from_str::<DeviceChoice>("-1").is_err());
    }
}
