//! Files of named tensors, as other programs write them: safetensors, whole or in shards, and
//! GGUF. Both are mapped into memory and become a [`Store`], whose tensors are read row by row, as
//! floats or as ternary codes, whatever they are stored as.
//!
//! ```
//! use bitnet::formats::{Encoding, Store, TensorHeader, write_safetensors};
//!
//! let path = std::env::temp_dir().join("bitnet-formats-example.safetensors");
//! let values: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
//! let header = TensorHeader::new("a", Encoding::F32, vec![2, 2]);
//! let mut bytes = Vec::new();
//! write_safetensors(&mut bytes, &[header], |_, out| out.write_all(&values))?;
//! std::fs::write(&path, bytes)?;
//!
//! let store = Store::safetensors(&path)?;
//! let tensor = store.tensor("a").expect("it was written");
//! assert_eq!((tensor.encoding(), tensor.shape()), (Encoding::F32, &[2, 2][..]));
//! let mut row = [0.0; 2];
//! tensor.row(1, &mut row);
//! assert_eq!(row, [3.0, 4.0]);
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Files are not trusted: sizes, offsets, counts and texts are checked before memory is taken for
//! them, and what is held of a file besides its mapping is less than the file.

mod codes;
mod encoding;
mod error;
mod floats;
pub mod gguf;
mod mapped;
mod safetensors;
mod store;

pub(crate) use codes::{write_i2_s, write_strided, write_tq1_0, write_tq2_0};
pub use encoding::Encoding;
pub use error::FormatError;
pub(crate) use floats::{holds, write_floats};
pub(crate) use mapped::{read_text, without_mark};
pub(crate) use safetensors::is_own_safetensors;
pub use safetensors::{TensorHeader, write_safetensors};
pub use store::{Store, TensorView};

/// What files of tensors that are written here name as what wrote them.
pub(crate) const PRODUCER: &str = "bitnet on Burn";
