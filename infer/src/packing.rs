//! How a model is packed, and where it already is.

use std::path::Path;

use anyhow::{Context, ensure};
use bitnet::{
    engine::CacheFormat,
    packed::TableFormat,
    pretrained::{Packed, Pretrained},
};
use burn::tensor::backend::Backend;

use crate::model::{self, Head};

/// In what a packed model holds its numbers.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct PackArgs {
    /// In what embedding and output head are held [default: int8, or what a packed model has]
    #[arg(long, value_name = "FORMAT")]
    head: Option<Head>,
    /// In what keys and values of the tokens before are held
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    kv: Kv,
}

/// In what keys and values are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kv {
    /// 32 bits, as in training
    F32,
    /// 8 bits, one scale a token and head
    Int8,
}

impl PackArgs {
    /// Whether anything but the defaults is asked for.
    pub fn is_given(self) -> bool {
        self.head.is_some() || self.kv != Kv::F32
    }

    /// In what embedding and output head are held.
    pub fn tables(self) -> TableFormat {
        self.head.map_or(TableFormat::Int8, Head::format)
    }

    /// In what keys and values are held.
    pub fn cache(self) -> CacheFormat {
        match self.kv {
            Kv::F32 => CacheFormat::F32,
            Kv::Int8 => CacheFormat::Int8,
        }
    }

    /// Packs a model.
    ///
    /// # Errors
    /// If it cannot be packed.
    pub fn pack<B: Backend>(self, model: Pretrained<B>) -> anyhow::Result<Packed> {
        Ok(self.with_cache(model.pack(self.tables())?))
    }

    /// Reads the folder of a packed model.
    ///
    /// # Errors
    /// If it is damaged, or another head is asked for than it has.
    pub fn load(self, path: &Path) -> anyhow::Result<Packed> {
        let model = || format!("model {}", path.display());
        let packed = Packed::load(path).with_context(model)?;
        let actual = packed.engine.table_format();
        ensure!(
            self.head.is_none() || self.tables() == actual,
            "{}: it is packed with a head of {}, which cannot be changed",
            model(),
            actual.name()
        );
        Ok(self.with_cache(packed))
    }

    /// Reads the folder of any model, and packs it if it is not.
    ///
    /// # Errors
    /// If it cannot be read or packed.
    pub fn load_any<B: Backend>(self, path: &Path, device: &B::Device) -> anyhow::Result<Packed> {
        if Packed::is_at(path) {
            return self.load(path);
        }
        let model = model::load::<B>(path, device)?;
        self.pack(model).with_context(|| format!("model {}", path.display()))
    }

    fn with_cache(self, Packed { engine, tokenizer }: Packed) -> Packed {
        Packed { engine: engine.with_cache_format(self.cache()), tokenizer }
    }
}
