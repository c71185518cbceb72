//! `infer export`: writes a model for other programs, or packed.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use bitnet::{
    formats::Encoding,
    pretrained::{EXPORTED_FILE, EXPORTED_FOLDER, ExportFormat, Exported, export},
    progress::Bar,
    storage::Output,
};
use clap::{ValueEnum, builder::PossibleValue};
use command_line::{Align, table, thousands};
use infer::{PackOptions, load_packed, model_name, open};

use super::footprint;
use crate::{args::Head, output};

/// What to write, and where.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Model folder or GGUF file
    #[arg(short, long, value_name = "PATH")]
    model: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// GGUF type of the ternary weights [default: tq2_0]
    #[arg(long = "type", value_name = "TYPE")]
    linears: Option<Type>,
    /// GGUF type of the embedding [default: as the model has it]
    #[arg(long, value_name = "TYPE")]
    embedding: Option<Floats>,
    /// Folder, or GGUF file, to be written
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Replace what is there although it is no earlier export
    #[arg(long)]
    force: bool,
    /// With packed, format of the embedding and output head [default: int8]
    #[arg(long, value_name = "FORMAT")]
    head: Option<Head>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Folder for transformers: latent weights in bf16
    HfBf16,
    /// Folder for transformers: ternary weights, four per byte
    HfPacked,
    /// File for llama.cpp or bitnet.cpp
    Gguf,
    /// Folder of packed weights, which the other commands map into memory as it is
    Packed,
}

/// Types of tensors in GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    /// Ternary, 2.06 bits per weight (llama.cpp)
    #[value(name = "tq2_0")]
    Tq2_0,
    /// Ternary, 1.69 bits per weight (llama.cpp)
    #[value(name = "tq1_0")]
    Tq1_0,
    /// Ternary, 2 bits per weight (bitnet.cpp)
    #[value(name = "i2_s")]
    I2S,
    /// Integers of 8 bits, one scale per 32
    #[value(name = "q8_0")]
    Q8_0,
    /// 16 bits
    F16,
    /// bfloat16
    Bf16,
    /// 32 bits
    F32,
}

/// A type that holds other numbers than codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Floats(Type);

impl ValueEnum for Floats {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self(Type::Q8_0), Self(Type::F16), Self(Type::Bf16), Self(Type::F32)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        self.0.to_possible_value()
    }
}

impl Type {
    fn encoding(self) -> Encoding {
        match self {
            Self::Tq2_0 => Encoding::Tq2_0,
            Self::Tq1_0 => Encoding::Tq1_0,
            Self::I2S => Encoding::I2S,
            Self::Q8_0 => Encoding::Q8_0,
            Self::F16 => Encoding::F16,
            Self::Bf16 => Encoding::Bf16,
            Self::F32 => Encoding::F32,
        }
    }
}

impl ExportArgs {
    /// Writes the model and says what became of its weights.
    ///
    /// # Errors
    /// If the model cannot be read, or not be written so.
    pub fn run(self) -> anyhow::Result<()> {
        let format = self.format()?;
        ensure!(self.head.is_none() || format.is_none(), "--head is for --format packed");
        let to = Output::new(&self.out).reading([&self.model]).forced(self.force);
        // Before the work.
        match format {
            Some(ExportFormat::Gguf { .. }) => to.check_file(&EXPORTED_FILE),
            _ => to.check_folder(&EXPORTED_FOLDER),
        }
        .with_context(|| format!("cannot write {}", self.out.display()))?;
        let Some(format) = format else {
            let options = PackOptions { head: self.head.map(Head::format), ..Default::default() };
            let packed = load_packed(&self.model, options, &Bar::default())?;
            packed.save(to).with_context(|| model_name(&self.model))?;
            let written = ["written".into(), self.out.display().to_string()];
            let rows: Vec<_> =
                [written].into_iter().chain(footprint::rows(&packed.model)).collect();
            return output::print(&table(&rows, Align::Right));
        };
        let stored = open(&self.model)?;
        let exported = export(&stored, format, to, &Bar::default())
            .with_context(|| model_name(&self.model))?;
        output::print(&self.report(exported))
    }

    /// What to export; `None` for our own packed weights.
    fn format(&self) -> anyhow::Result<Option<ExportFormat>> {
        let for_gguf = self.linears.is_some() || self.embedding.is_some();
        Ok(match self.format {
            Format::HfBf16 | Format::HfPacked | Format::Packed if for_gguf => {
                bail!("--type and --embedding are for --format gguf")
            }
            Format::Packed => None,
            Format::HfBf16 => Some(ExportFormat::HfBf16),
            Format::HfPacked => Some(ExportFormat::HfPacked),
            Format::Gguf => {
                let embedding = self.embedding.map(|Floats(kind)| kind.encoding());
                let linears = self.linears.unwrap_or(Type::Tq2_0).encoding();
                Some(ExportFormat::Gguf { linears, embedding })
            }
        })
    }

    fn report(&self, exported: Exported) -> String {
        let Exported { bytes, weights, changed, scale_change } = exported;
        table(
            &[
                ["written".into(), self.out.display().to_string()],
                ["weights' file".into(), format!("{} bytes", thousands(bytes))],
                ["quantised weights".into(), thousands(weights)],
                ["  of another code".into(), thousands(changed)],
                ["scales changed by".into(), format!("{scale_change:.1e} at most")],
            ],
            Align::Right,
        )
    }
}
