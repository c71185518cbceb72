//! Uses trained BitNet models: loads and packs them, continues prompts, holds chats.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use bitnet::{generate::GenerationConfig, progress::Silent};
//! use infer::{Chat, PackOptions, load_packed};
//!
//! let path = Path::new("runs/quickstart/model");
//! let model = load_packed(path, PackOptions::default(), &Silent)?;
//! for piece in model.stream("In the beginning", &GenerationConfig::default())? {
//!     print!("{}", piece?);
//! }
//!
//! let mut chat = Chat::new(&model, Some("Be brief."), GenerationConfig::default())?;
//! for question in ["Who are you?", "And who am I?"] {
//!     let mut answer = chat.ask(question)?;
//!     for piece in &mut answer {
//!         print!("{}", piece?);
//!     }
//!     answer.keep();
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything that generates is generic over [`CausalLm`](bitnet::generate::CausalLm): the packed
//! engine and the float model of any backend.

#![warn(unreachable_pub)]

mod chat;
mod error;
mod load;
mod pack;
mod sampling;

pub use chat::{Answer, Chat, SessionError};
pub use error::{LoadError, model_name};
pub use load::{LoadOptions, Loaded, load, load_float, open};
pub use pack::{PackOptions, load_packed, pack};
pub use sampling::{SamplingError, SamplingOptions};
