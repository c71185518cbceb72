use super::{PackedModel, PretrainedError, reader::CheckpointReader, ternary_rows};
use crate::{
    engine::{Engine, EngineError, WeightSource},
    formats::TensorView,
    nn::schema::{LinearPart, LinearRole, NormRole, TensorId},
    packed::{EmbeddingTable, TableFormat, TernaryMatrix},
    progress::Progress,
};

impl CheckpointReader {
    /// Packs the model, tensor by tensor: floats of a whole matrix are never held. Embedding and
    /// output head are held in `tables`.
    ///
    /// # Errors
    /// [`PretrainedError::Engine`] if its quantisers are not those of packed weights, others if a
    /// tensor is damaged.
    pub fn pack(
        self,
        tables: TableFormat,
        progress: &dyn Progress,
    ) -> Result<PackedModel, PretrainedError> {
        progress.start("packing", self.store.bytes() as u64);
        let source = StoredSource { stored: &self, progress };
        let engine = Engine::from_source(&self.config, &source, tables);
        progress.finish();
        Ok(PackedModel { model: engine?, tokenizer: self.tokenizer, settings: self.settings })
    }
}

/// The weights of a model in files, for the engine.
struct StoredSource<'a> {
    stored: &'a CheckpointReader,
    progress: &'a dyn Progress,
}

impl StoredSource<'_> {
    /// A tensor has been read.
    fn done(&self, tensor: TensorView<'_>) {
        tensor.release();
        self.progress.advance(tensor.bytes().len() as u64);
    }

    fn table(&self, id: TensorId, format: TableFormat) -> Result<EmbeddingTable, PretrainedError> {
        let tensor = self.stored.tensor(id)?;
        tensor.check_floats(f32::is_finite)?;
        let fill = |row, out: &mut [f32]| tensor.row(row, out);
        let table = EmbeddingTable::from_rows(tensor.rows(), tensor.columns(), format, fill);
        self.done(tensor);
        Ok(table)
    }
}

impl WeightSource for StoredSource<'_> {
    type Error = PretrainedError;

    fn matrix(&self, block: usize, linears: &[LinearRole]) -> Result<TernaryMatrix, Self::Error> {
        let mut parts = Vec::with_capacity(linears.len());
        let mut bias = Vec::new();
        for &role in linears {
            let part =
                self.stored.ternary(TensorId::Linear { block, role, part: LinearPart::Weight })?;
            parts.push(part.ok_or(EngineError::Unsupported("quantised weights only"))?);
            if self.stored.config.bias {
                let id = TensorId::Linear { block, role, part: LinearPart::Bias };
                bias.extend(self.stored.floats(id)?);
            }
        }
        let matrix = ternary_rows::pack(&parts, self.stored.config.bias.then_some(bias));
        parts.iter().for_each(|part| self.done(part.tensor()));
        Ok(matrix)
    }

    fn gains(&self, block: usize, norm: NormRole) -> Result<Vec<f32>, Self::Error> {
        self.stored.floats(TensorId::Norm { block, role: norm })
    }

    fn last_gains(&self) -> Result<Vec<f32>, Self::Error> {
        self.stored.floats(TensorId::LastNorm)
    }

    fn embedding(&self, format: TableFormat) -> Result<EmbeddingTable, Self::Error> {
        self.table(TensorId::Embedding, format)
    }

    fn head(&self, format: TableFormat) -> Result<Option<EmbeddingTable>, Self::Error> {
        match self.stored.config.tie_embeddings {
            true => Ok(None),
            false => self.table(TensorId::Head, format).map(Some),
        }
    }
}
