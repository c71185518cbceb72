//! How a model is packed, and where it already is.

use std::path::Path;

use anyhow::{Context, ensure};
use bitnet::{
    engine::CacheFormat,
    packed::TableFormat,
    pretrained::{Packed, Stored},
    progress::Bar,
};

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
    /// The defaults, but for the head.
    pub fn of_head(head: Option<Head>) -> Self {
        Self { head, kv: Kv::F32 }
    }

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

    /// Packs a model that was opened at `path`.
    ///
    /// # Errors
    /// If it cannot be packed.
    pub fn pack(self, stored: Stored, path: &Path) -> anyhow::Result<Packed> {
        let packed = stored.pack(self.tables(), &Bar::default());
        Ok(self.with_cache(packed.with_context(|| model::of(path))?))
    }

    /// Reads any model, and packs it if it is not.
    ///
    /// # Errors
    /// If it cannot be read or packed, or is packed with another head than is asked for.
    pub fn load(self, path: &Path) -> anyhow::Result<Packed> {
        if !Packed::is_at(path) {
            return self.pack(model::open(path)?, path);
        }
        let packed = Packed::load(path).with_context(|| model::of(path))?;
        let actual = packed.engine.table_format();
        ensure!(
            self.head.is_none() || self.tables() == actual,
            "{}: it is packed with a head of {}, which cannot be changed",
            model::of(path),
            actual.name()
        );
        Ok(self.with_cache(packed))
    }

    fn with_cache(self, packed: Packed) -> Packed {
        Packed { engine: packed.engine.with_cache_format(self.cache()), ..packed }
    }
}
