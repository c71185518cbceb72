//! An engine on disk: its arrays as they stand in memory, so that loading is mapping.

use std::{cell::RefCell, io, path::Path};

use super::{Engine, EngineError, WeightSource, shapes::matrix_shape};
use crate::{
    nn::{
        BitNetTransformerConfig,
        schema::{LinearRole, NormRole},
    },
    packed::{ArrayFile, EmbeddingTable, FileError, TableFormat, TernaryMatrix, write_arrays},
};

impl Engine {
    /// Writes the weights into a file, all or nothing. The configuration is not a part of it.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let kind = TableFormat::ALL.iter().position(|&format| format == self.table_format());
        write_arrays(path, kind.unwrap_or_default() as u32, &self.arrays().collect::<Vec<_>>())
    }

    /// Maps a file that [`write`](Self::write) has written for a model of this configuration. No
    /// weight is copied: what is read of the file is memory that the system can take back.
    ///
    /// # Errors
    /// [`EngineError::File`] if the file is damaged or of another model, [`EngineError::Model`]
    /// for an invalid configuration, [`EngineError::Unsupported`] as [`new`](Self::new).
    pub fn map(path: &Path, config: &BitNetTransformerConfig) -> Result<Self, EngineError> {
        config.validate()?;
        Self::supports(config)?;
        let file = ArrayFile::open(path)?;
        let format = usize::try_from(file.kind()).ok().and_then(|kind| TableFormat::ALL.get(kind));
        let format = *format.ok_or(FileError::Value("tables of an unknown format"))?;
        let source = Mapped { config, file: RefCell::new(file) };
        let engine = Self::from_source(config, &source, format)?;
        source.file.into_inner().finish()?;
        Ok(engine)
    }

    /// The bytes of its weights, as a file holds them: in the order in which they are
    /// read.
    pub fn arrays(&self) -> impl Iterator<Item = &[u8]> {
        let blocks = self
            .blocks
            .iter()
            .flat_map(|block| block.attention.arrays().chain(block.feed_forward.arrays()));
        let head = self.head.iter().flat_map(EmbeddingTable::arrays);
        self.embedding.arrays().chain(blocks).chain(self.norm.array()).chain(head)
    }
}

/// The weights in a file.
struct Mapped<'a> {
    config: &'a BitNetTransformerConfig,
    file: RefCell<ArrayFile>,
}

impl Mapped<'_> {
    fn table(&self, format: TableFormat) -> Result<EmbeddingTable, EngineError> {
        let &BitNetTransformerConfig { num_tokens, dim, .. } = self.config;
        Ok(EmbeddingTable::read(&mut self.file.borrow_mut(), num_tokens, dim, format)?)
    }
}

impl WeightSource for Mapped<'_> {
    type Error = EngineError;

    fn matrix(&self, _block: usize, linears: &[LinearRole]) -> Result<TernaryMatrix, EngineError> {
        let shape = matrix_shape(linears, self.config);
        Ok(TernaryMatrix::read(&mut self.file.borrow_mut(), shape, self.config.bias)?)
    }

    fn gains(&self, _block: usize, norm: NormRole) -> Result<Vec<f32>, EngineError> {
        let features = norm.features(self.config);
        Ok(self.file.borrow_mut().take_finite(features)?.to_vec())
    }

    fn last_gains(&self) -> Result<Vec<f32>, EngineError> {
        Ok(self.file.borrow_mut().take_finite(self.config.dim)?.to_vec())
    }

    fn embedding(&self, format: TableFormat) -> Result<EmbeddingTable, EngineError> {
        self.table(format)
    }

    fn head(&self, format: TableFormat) -> Result<Option<EmbeddingTable>, EngineError> {
        (!self.config.tie_embeddings).then(|| self.table(format)).transpose()
    }
}
