//! `infer export`: writes a model in another format.

use std::path::PathBuf;

use anyhow::Context;
use bitnet::backend::BackendVisitor;
use burn::tensor::backend::Backend;

use crate::{backend::BackendArgs, packing::PackArgs};

/// What to write, and how.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Model folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// Where to write it; what is there is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    packing: PackArgs,
}

/// Formats of models on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A folder of packed weights, which the other commands load at once
    Packed,
}

impl ExportArgs {
    /// Writes the model.
    ///
    /// # Errors
    /// If it cannot be read, packed or written.
    pub fn run(self) -> anyhow::Result<()> {
        BackendArgs::default().visit(self)
    }
}

impl BackendVisitor for ExportArgs {
    type Output = anyhow::Result<()>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        match self.format {
            Format::Packed => self
                .packing
                .load_any::<B>(&self.model, &device)?
                .save(&self.out)
                .with_context(|| format!("export to {}", self.out.display())),
        }
    }
}
