use std::{
    fs::{self, File},
    io::{BufWriter, Write},
};

use super::{ExportError, rows};
use crate::{
    formats::{Encoding, TensorHeader, holds, write_floats, write_safetensors, write_strided},
    model::BitNetTransformerConfig,
    pretrained::{
        EXPORTED_FOLDER, PretrainedError, WeightDtype,
        config::{self, Form},
        files::{CONFIG, WEIGHTS},
        layout::{self, Role, Spec},
        settings_files,
        stored::{Stored, scale_name},
    },
    progress::Progress,
    quant::WeightQuant,
    storage::Output,
};

/// A tensor of the file: where it comes from.
struct Part {
    spec: Spec,
    is_scale: bool,
}

/// Writes a folder that `transformers` opens.
pub(super) fn write(
    stored: &Stored,
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
    for spec in layout::tensors(&config) {
        let packed = form == Form::Packed && spec.role == Role::Linear;
        if packed && !spec.shape[0].is_multiple_of(4) {
            let reason = format!(
                "a linear of {} outputs, which four do not divide; it takes models trained with \
                 model.dim, model.ff_dim and model.kv_heads times model.dim_head multiples of 4",
                spec.shape[0]
            );
            return Err(PretrainedError::NotExportable(reason).into());
        }
        let encoding = if packed { Encoding::Strided } else { floats };
        headers.push(TensorHeader::new(&spec.name, encoding, spec.shape.clone()));
        parts.push(Part { spec: spec.clone(), is_scale: false });
        if packed {
            headers.push(TensorHeader::new(&scale_name(&spec.name), Encoding::F32, vec![1]));
            parts.push(Part { spec, is_scale: true });
        }
    }
    to.write_folder(&EXPORTED_FOLDER, |folder| {
        fs::write(folder.join(CONFIG), config::to_json(&config, dtype, form))?;
        settings_files::write(folder, &stored.settings, stored.tokenizer(), config.max_seq_len)?;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(folder.join(WEIGHTS))?);
        write_safetensors(&mut out, &headers, |index, out| {
            write_part(stored, &parts[index], form, floats, progress, out)
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
fn floats_of(stored: &Stored) -> Result<Encoding, PretrainedError> {
    for Spec { name, role, .. } in layout::tensors(&stored.config) {
        if role != Role::Linear && stored.tensor(&name)?.encoding() != Encoding::Bf16 {
            return Ok(Encoding::F32);
        }
    }
    Ok(Encoding::Bf16)
}

fn write_part(
    stored: &Stored,
    Part { spec: Spec { name, role, .. }, is_scale }: &Part,
    form: Form,
    floats: Encoding,
    progress: &dyn Progress,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let tensor = stored.tensor(name)?;
    match (role, form) {
        (Role::Linear, Form::Packed) => {
            let linear = stored.ternary(name)?;
            let linear = linear.ok_or_else(|| PretrainedError::MissingTensor(name.clone()))?;
            if *is_scale {
                let scale = linear.one_scale().unwrap_or_default();
                tensor.release();
                return Ok(out.write_all(&scale.to_le_bytes())?);
            }
            let quarter = linear.outputs() / 4;
            rows::write(out, quarter, |row, bytes| {
                let four = [0, 1, 2, 3].map(|plane| rows::codes(&linear, row + plane * quarter));
                write_strided(four.each_ref().map(Vec::as_slice), bytes);
            })?;
        }
        (Role::Linear, Form::Latent) if stored.is_ternary(name)? => {
            let linear = stored.ternary(name)?;
            let linear = linear.ok_or_else(|| PretrainedError::MissingTensor(name.clone()))?;
            let (latent, columns) = (linear.to_latent()?, linear.inputs());
            rows::write(out, linear.outputs(), |row, bytes| {
                write_floats(floats, &latent[row * columns..][..columns], bytes);
            })?;
        }
        _ => {
            tensor.check_floats(|value| holds(floats, value))?;
            rows::write_tensor(out, tensor, floats)?;
        }
    }
    tensor.release();
    progress.advance(tensor.bytes().len() as u64);
    Ok(())
}
