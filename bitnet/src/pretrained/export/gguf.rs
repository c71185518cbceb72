use std::io::{BufWriter, Write};

use super::{error::ExportError, rows};
use crate::{
    formats::{
        Encoding,
        gguf::{GgufTensor, write_gguf},
        holds, write_floats, write_i2_s, write_tq1_0, write_tq2_0,
    },
    nn::schema::TensorId,
    pretrained::{
        EXPORTED_FILE, PretrainedError, config, gguf, reader::CheckpointReader,
        ternary_rows::TernaryRows,
    },
    progress::Progress,
    quant::WeightQuant,
    storage::Output,
};

/// Writes a file for llama.cpp or bitnet.cpp. Scales stand beside the codes, as numbers of 32 bits;
/// in I2_S after them.
pub(super) fn write(
    stored: &CheckpointReader,
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
    for id in TensorId::all(config) {
        let encoding = match embedding {
            _ if id.is_linear() => linears,
            Some(encoding) if id.is_table() => encoding,
            None if id.is_table() => stored.tensor(id)?.encoding(),
            _ => Encoding::F32,
        };
        let shape = id.shape(config);
        if encoding.bytes(&shape).is_none() {
            let (size, name) = (shape.last().copied().unwrap_or_default(), encoding.name());
            let (block, _) = encoding.block();
            return Err(refused(format!(
                "rows of {size} numbers in {name}; it takes models trained with model.dim and \
                 model.ff_dim multiples of {block}"
            ))
            .into());
        }
        let scale = id.scale().filter(|_| linears != Encoding::I2S);
        for (id, encoding) in
            [(id, encoding)].into_iter().chain(scale.map(|id| (id, Encoding::F32)))
        {
            let refuse = || refused(format!("a tensor \"{}\"", id.hf_name()));
            let name = id.gguf_name().ok_or_else(refuse)?;
            tensors.push(GgufTensor { name, encoding, shape: id.shape(config) });
        }
        sources.extend([(id, false)].into_iter().chain(scale.map(|_| (id, true))));
    }
    to.write_file(&EXPORTED_FILE, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write_gguf(&mut out, &metadata, &tensors, |index, out| {
            let (id, is_scale) = sources[index];
            let tensor = stored.tensor(id)?;
            if id.is_linear() {
                let linear = stored.ternary(id)?;
                let linear = linear.ok_or_else(|| refused("full precision".into()))?;
                write_linear(&linear, linears, is_scale, out)?;
            } else {
                let encoding = tensors[index].encoding;
                tensor.check_floats(|value| holds(encoding, value))?;
                rows::write_tensor(out, tensor, encoding)?;
            }
            tensor.release();
            progress.advance(if is_scale { 0 } else { tensor.bytes().len() as u64 });
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
