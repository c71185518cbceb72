//! What a run is, in the lines that it begins with.

use bitnet::{
    pretrained::WeightDtype,
    quant::WeightQuant,
    self_test::{ProductOperands, product_operands},
};
use command_line::thousands;

use crate::{
    config::{BackendSection, Config},
    output::{WIDTH, wrap},
    run_folder::RunFolder,
    training::{input::text::Text, outcome::ModelSize, state::State},
};

/// Folder, model, data, device and steps, a line each.
pub fn facts(config: &Config, text: &Text, folder: &RunFolder, state: &State) -> Vec<String> {
    let lines = [
        format!("folder  {}", folder.path().display()),
        format!("model   {}", model(config, text)),
        format!("data    {}", data(config, text)),
        format!("device  {}", device(config)),
        format!("steps   {}", steps(config, text, state)),
    ];
    // The folder is to be copied, and stays whole.
    let fit = |(index, line): (usize, String)| match index {
        0 => line,
        _ => wrap(&line, WIDTH).swap_remove(0),
    };
    lines.into_iter().enumerate().map(fit).collect()
}

fn model(config: &Config, text: &Text) -> String {
    let model = config.model.transformer(text.tokenizer.vocab_size());
    let size = ModelSize::new(&model, WeightDtype::F32);
    let weights = match config.model.quant {
        WeightQuant::Ternary => "ternary",
        WeightQuant::Binary | WeightQuant::BinaryPaper => "binary",
        WeightQuant::None => "full precision",
    };
    format!(
        "{} parameters, {weights}; dim {}, depth {}, heads {}, context {}",
        thousands(size.parameters()),
        model.dim,
        model.depth,
        model.heads,
        model.max_seq_len
    )
}

fn data(config: &Config, text: &Text) -> String {
    let size = text.size();
    let tested = match size.test {
        0 => String::new(),
        test => format!(", {} for a test", thousands(test)),
    };
    let mut sources = config.data.sources.join(", ");
    // The sizes are to be seen however long the names are.
    if let Some((end, _)) = sources.char_indices().nth(24) {
        sources.truncate(end);
        sources.push('…');
    }
    format!(
        "{sources}: {} tokens ({} bytes) to train on, {} held out{tested}",
        thousands(size.training),
        bytes(size.training_bytes),
        thousands(size.validation)
    )
}

fn device(config: &Config) -> String {
    let section = &config.backend;
    let name = match section.kind.device(&section.device) {
        Ok(device) => match device.name.is_empty() {
            true => device.id,
            false => format!("{}, {}", device.id, device.name),
        },
        Err(_) => section.device.to_string(),
    };
    let threads = match section.threads {
        Some(threads) => format!(", {threads} of them used"),
        None => String::new(),
    };
    let workers = match config.workers() {
        1 => String::new(),
        workers => format!(", {workers} workers"),
    };
    format!("{} on {name}{threads}{workers}, {}", section.kind, precision(section))
}

fn precision(section: &BackendSection) -> String {
    let asked = section.precision;
    let computed = match product_operands(section.kind, asked) {
        ProductOperands::Of(precision) if precision == asked => return asked.name().into(),
        ProductOperands::Of(precision) => precision.name(),
        ProductOperands::Int16Gradients => "f32, gradients in int16",
    };
    format!("{computed} (no {asked} here)")
}

fn steps(config: &Config, text: &Text, state: &State) -> String {
    let train = &config.train;
    let tokens = (train.batch * train.accumulation * config.model.context) as u64;
    let all = tokens.saturating_mul(train.steps);
    let from = match state.step {
        0 => String::new(),
        step => format!("; {} are done", thousands(step)),
    };
    format!(
        "{} of {} tokens: {} tokens, {} times the text{from}",
        thousands(train.steps),
        thousands(tokens),
        thousands(all),
        times(all as f64 / text.size().training.max(1) as f64)
    )
}

/// A number of times: two decimals, and below a tenth three significant digits.
fn times(number: f64) -> String {
    let is_small = number > 0.0 && number < 0.1;
    let decimals = if is_small { (2.0 - number.log10().floor()).min(12.0) } else { 2.0 };
    format!("{number:.*}", decimals as usize)
}

/// A number of bytes with a unit.
fn bytes(number: u64) -> String {
    let units = ["", "k", "M", "G", "T"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { number.to_string() } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_times_the_text_are_not_none() {
        let shown = [0.0, 0.000_012_345, 0.004_321, 0.25, 1.5, 123.456].map(times);
        assert_eq!(shown, ["0.00", "0.0000123", "0.00432", "0.25", "1.50", "123.46"]);
    }

    #[test]
    fn bytes_have_units() {
        let shown = [999, 1000, 4_332_554, 1_500_000_000].map(bytes);
        assert_eq!(shown, ["999", "1.0 k", "4.3 M", "1.5 G"]);
    }
}
