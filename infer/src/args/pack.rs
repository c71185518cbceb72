use bitnet::{engine::CacheFormat, packed::TableFormat};
use infer::PackOptions;

/// Formats of a packed model's numbers.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct PackArgs {
    /// Format of the embedding and output head [default: int8, or what a packed model has]
    #[arg(long, value_name = "FORMAT")]
    head: Option<Head>,
    /// Format of the KV cache
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    kv: Kv,
}

/// Format of a packed model's embedding and output head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Head {
    /// 8 bits, one scale per row
    Int8,
    /// bfloat16
    Bf16,
    /// 32 bits, as in training
    F32,
}

impl Head {
    /// The library's name for it.
    pub fn format(self) -> TableFormat {
        match self {
            Self::Int8 => TableFormat::Int8,
            Self::Bf16 => TableFormat::Bf16,
            Self::F32 => TableFormat::F32,
        }
    }
}

/// Format of a KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kv {
    /// 32 bits, as in training
    F32,
    /// 8 bits, one scale per token and head
    Int8,
}

impl PackArgs {
    /// The library's form of them.
    pub fn options(self) -> PackOptions {
        let cache = match self.kv {
            Kv::F32 => CacheFormat::F32,
            Kv::Int8 => CacheFormat::Int8,
        };
        PackOptions { head: self.head.map(Head::format), cache }
    }
}
