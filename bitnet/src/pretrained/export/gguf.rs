use std::io::{BufWriter, Write};

use super::{ExportError, rows};
use crate::{
    formats::{
        Encoding,
        gguf::{GgufTensor, write_gguf},
        holds, write_floats, write_i2_s, write_tq1_0, write_tq2_0,
    },
    pretrained::{
        EXPORTED_FILE, PretrainedError, config, gguf,
        layout::{self, Role},
        stored::{Stored, scale_name},
        ternary_rows::TernaryRows,
    },
    progress::Progress,
    quant::WeightQuant,
    storage::Output,
};

/// Writes a file for llama.cpp or bitnet.cpp. Scales stand beside the codes, as numbers of 32 bits;
/// in I2_S behind them.
pub(super) fn write(
    stored: &Stored,
    to: &Output,
    progress: &dyn Progress,
    linears: Encoding,
    embedding: Option<Encoding>,
) -> Result<(), ExportError> {
    let config = &stored.config;
    let mut as_ternary = config.clone();
    // Codes are codes, whatever has made them.
    if config.quant == WeightQuant::Binary {
        as_ternary.quant = WeightQuant::Ternary;
    }
    let unlike = config::unlike_hf(&as_ternary).or_else(|| gguf::unlike_gguf(config));
    let refused = |what: String| PretrainedError::NotExportable(what);
    if let Some(what) = unlike {
        return Err(refused(what).into());
    }
    let mut metadata = gguf::config_fields(config, linears);
    metadata.extend(gguf::tokenizer_fields(stored.tokenizer(), config.num_tokens)?);
    metadata.extend(gguf::settings_fields(&stored.settings, stored.tokenizer()));

    let mut sources = Vec::new();
    let mut tensors = Vec::new();
    for spec in layout::tensors(config) {
        let encoding = match spec.role {
            Role::Linear => linears,
            Role::Table => match embedding {
                Some(encoding) => encoding,
                None => stored.tensor(&spec.name)?.encoding(),
            },
            Role::Vector => Encoding::F32,
        };
        if encoding.bytes(&spec.shape).is_none() {
            let (size, name) = (spec.shape.last().copied().unwrap_or_default(), encoding.name());
            let (block, _) = encoding.block();
            return Err(refused(format!(
                "rows of {size} numbers in {name}; it takes models trained with model.dim and \
                 model.ff_dim multiples of {block}"
            ))
            .into());
        }
        let has_scale = spec.role == Role::Linear && linears != Encoding::I2S;
        for is_scale in [false, true].into_iter().take(1 + usize::from(has_scale)) {
            let name = if is_scale { scale_name(&spec.name) } else { spec.name.clone() };
            let gguf_name =
                gguf::tensor_name(&name).ok_or_else(|| refused(format!("a tensor \"{name}\"")))?;
            let (encoding, shape) = match is_scale {
                true => (Encoding::F32, vec![1]),
                false => (encoding, spec.shape.clone()),
            };
            tensors.push(GgufTensor { name: gguf_name, encoding, shape });
            sources.push((spec.clone(), is_scale));
        }
    }
    to.write_file(&EXPORTED_FILE, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write_gguf(&mut out, &metadata, &tensors, |index, out| {
            let (spec, is_scale) = &sources[index];
            let tensor = stored.tensor(&spec.name)?;
            if spec.role == Role::Linear {
                let linear = stored.ternary(&spec.name)?;
                let linear = linear.ok_or_else(|| refused("full precision".into()))?;
                write_linear(&linear, linears, *is_scale, out)?;
            } else {
                let encoding = tensors[index].encoding;
                tensor.check_floats(|value| holds(encoding, value))?;
                rows::write_tensor(out, tensor, encoding)?;
            }
            tensor.release();
            progress.advance(if *is_scale { 0 } else { tensor.bytes().len() as u64 });
            Ok::<(), ExportError>(())
        })?;
        Ok(out.flush()?)
    })
}

fn write_linear(
    linear: &TernaryRows<'_>,
    encoding: Encoding,
    is_scale: bool,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let scale = linear.one_scale().unwrap_or_default().to_le_bytes();
    if is_scale {
        return Ok(out.write_all(&scale)?);
    }
    rows::write(out, linear.outputs(), |row, bytes| {
        let codes = rows::codes(linear, row);
        match encoding {
            Encoding::Tq1_0 => write_tq1_0(&codes, bytes),
            Encoding::Tq2_0 => write_tq2_0(&codes, bytes),
            Encoding::I2S => write_i2_s(&codes, bytes),
            floats => {
                let codes: Vec<f32> = codes.into_iter().map(f32::from).collect();
                write_floats(floats, &codes, bytes);
            }
        }
    })?;
    if encoding == Encoding::I2S {
        out.write_all(&scale)?;
        out.write_all(&[0; 28])?;
    }
    Ok(())
}
