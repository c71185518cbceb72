use std::{
    fs::{self, File},
    io::{BufWriter, Write},
};

use super::{error::ExportError, rows};
use crate::{
    formats::{Encoding, TensorHeader, holds, write_floats, write_safetensors, write_strided},
    nn::{
        BitNetTransformerConfig,
        schema::{LinearPart, TensorId},
    },
    pretrained::{
        EXPORTED_FOLDER, PretrainedError, WeightDtype,
        config::{self, Form},
        files::{CONFIG, WEIGHTS},
        reader::CheckpointReader,
        settings_files,
    },
    progress::Progress,
    quant::WeightQuant,
    storage::Output,
};

/// Writes a folder that `transformers` opens.
pub(super) fn write(
    stored: &CheckpointReader,
    to: &Output,
    progress: &dyn Progress,
    form: Form,
) -> Result<(), ExportError> {
    let config = exportable(&stored.config, form)?;
    let floats = match form {
        Form::Latent => Encoding::Bf16,
        Form::Packed => floats_of(stored)?,
    };
    let dtype = if floats == Encoding::Bf16 { WeightDtype::Bf16 } else { WeightDtype::F32 };
    let mut parts = Vec::new();
    let mut headers = Vec::new();
    for id in TensorId::all(&config) {
        let packed = form == Form::Packed && id.is_linear();
        let shape = id.shape(&config);
        if packed && !shape[0].is_multiple_of(4) {
            let reason = format!(
                "a linear of {} outputs, which four do not divide; it takes models trained with \
                 model.dim, model.ff_dim and model.kv_heads times model.dim_head multiples of 4",
                shape[0]
            );
            return Err(PretrainedError::NotExportable(reason).into());
        }
        let encoding = if packed { Encoding::Strided } else { floats };
        headers.push(TensorHeader::new(&id.hf_name(), encoding, shape));
        parts.push(id);
        if let Some(scale) = id.scale().filter(|_| packed) {
            let shape = scale.shape(&config);
            headers.push(TensorHeader::new(&scale.hf_name(), Encoding::F32, shape));
            parts.push(scale);
        }
    }
    to.write_folder(&EXPORTED_FOLDER, |folder| {
        fs::write(folder.join(CONFIG), config::to_json(&config, dtype, form))?;
        settings_files::write(folder, &stored.settings, stored.tokenizer(), config.max_seq_len)?;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(folder.join(WEIGHTS))?);
        write_safetensors(&mut out, &headers, |index, out| {
            write_part(stored, parts[index], form, floats, progress, out)
        })?;
        Ok(out.flush()?)
    })
}

/// The configuration that is written.
fn exportable(
    config: &BitNetTransformerConfig,
    form: Form,
) -> Result<BitNetTransformerConfig, PretrainedError> {
    let mut config = config.clone();
    // Codes are codes, whatever has made them.
    if form == Form::Packed && config.quant == WeightQuant::Binary {
        config.quant = WeightQuant::Ternary;
    }
    match config::unlike_hf(&config) {
        Some(what) => Err(PretrainedError::NotExportable(what)),
        None => Ok(config),
    }
}

/// What holds all floats of the model without loss.
fn floats_of(stored: &CheckpointReader) -> Result<Encoding, PretrainedError> {
    for id in TensorId::all(&stored.config) {
        if !id.is_linear() && stored.tensor(id)?.encoding() != Encoding::Bf16 {
            return Ok(Encoding::F32);
        }
    }
    Ok(Encoding::Bf16)
}

fn write_part(
    stored: &CheckpointReader,
    id: TensorId,
    form: Form,
    floats: Encoding,
    progress: &dyn Progress,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    // Of a scale, the weight whose scale it is.
    let weight = match id {
        TensorId::Linear { block, role, part: LinearPart::Scale } => {
            TensorId::Linear { block, role, part: LinearPart::Weight }
        }
        id => id,
    };
    let tensor = stored.tensor(weight)?;
    let ternary = || {
        let missing = || PretrainedError::MissingTensor(weight.hf_name());
        stored.ternary(weight)?.ok_or_else(missing)
    };
    if id != weight {
        let scale = ternary()?.one_scale().unwrap_or_default();
        tensor.release();
        return Ok(out.write_all(&scale.to_le_bytes())?);
    }
    if id.is_linear() && form == Form::Packed {
        let linear = ternary()?;
        let quarter = linear.outputs() / 4;
        rows::write(out, quarter, |row, bytes| {
            let four = [0, 1, 2, 3].map(|plane| rows::codes(&linear, row + plane * quarter));
            write_strided(four.each_ref().map(Vec::as_slice), bytes);
        })?;
    } else if id.is_linear() && stored.is_ternary(id)? {
        let linear = ternary()?;
        let (latent, columns) = (linear.to_latent()?, linear.inputs());
        rows::write(out, linear.outputs(), |row, bytes| {
            write_floats(floats, &latent[row * columns..][..columns], bytes);
        })?;
    } else {
        tensor.check_floats(|value| holds(floats, value))?;
        rows::write_tensor(out, tensor, floats)?;
    }
    tensor.release();
    progress.advance(tensor.bytes().len() as u64);
    Ok(())
}
