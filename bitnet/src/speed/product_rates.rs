//! How fast the products of training and of packed inference are on one core, beside what the core
//! can do at all: `cargo bench --bench products` prints them.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use crate::cpu::{
    absmean::CodeRule,
    gemm::{
        blocked,
        int8::{self, CodeRows, Codes},
        operands::{Columns, Panels, ROWS_PER_BAND, Rows},
        word::Word,
    },
    isa::{self, ShortOperands},
    peak,
    uninit::Uninit,
};

/// A product on one core.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductRate {
    /// What is multiplied.
    pub product: &'static str,
    /// Multiply-accumulates per second.
    pub rate: f64,
    /// The same of a loop over registers, where there is one for these instructions.
    pub peak: Option<f64>,
}

/// Measures the products of a layer with `inputs` inputs and `outputs` outputs, over `tokens`
/// tokens, on the calling thread, for about `budget` each: by the instructions that
/// [`Isa::best`](crate::packed::Isa::best) names.
///
/// # Panics
/// If a size is zero.
pub fn product_rates(
    tokens: usize,
    inputs: usize,
    outputs: usize,
    budget: Duration,
) -> Vec<ProductRate> {
    let sizes = [tokens, inputs, outputs];
    assert!(sizes.iter().all(|&size| size > 0), "sizes");
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let measure = || {
        let mut rates = vec![forward(sizes, budget)];
        let names = ["f32: gradient of inputs", "f32: gradient of weights"];
        rates.extend(backward::<f32>(names, sizes, budget, peak::f32));
        match isa::short_operands() {
            Some(ShortOperands::Bf16) => {
                let names = ["bf16: gradient of inputs", "bf16: gradient of weights"];
                rates.extend(backward::<u32>(names, sizes, budget, peak::bf16));
            }
            Some(ShortOperands::Int16) => {
                let names = ["int16: gradient of inputs", "int16: gradient of weights"];
                rates.extend(backward::<i32>(names, sizes, budget, peak::int16));
            }
            None => {}
        }
        rates
    };
    match one {
        Ok(pool) => pool.install(measure),
        // The system has no thread left: all of them then.
        Err(_) => measure(),
    }
}

/// 8-bit codes times ternary ones.
fn forward([tokens, inputs, outputs]: [usize; 3], budget: Duration) -> ProductRate {
    let mut codes = Codes::new(tokens, inputs);
    codes.codes.iter_mut().enumerate().for_each(|(i, code)| *code = (i * 31 % 255) as u8 as i8);
    let weights = values(inputs * outputs);
    let panels = int8::TernaryPanels::pack(inputs, &[(&weights, outputs, CodeRule::ternary(0.5))]);
    let rate = rate([tokens, inputs, outputs], budget, || {
        let mut y = Uninit::new(tokens * outputs);
        for (band, y) in y.chunks(ROWS_PER_BAND * outputs).enumerate() {
            let rows = band * ROWS_PER_BAND..tokens.min((band + 1) * ROWS_PER_BAND);
            let lines = CodeRows {
                codes: &codes.codes[rows.start * codes.stride..rows.end * codes.stride],
                scales: &codes.scales[rows.clone()],
                sums: &codes.sums[rows],
            };
            int8::product(lines, &panels, None, y);
        }
        black_box(y.finish());
    });
    ProductRate { product: "int8: outputs", rate, peak: peak::int8(budget) }
}

/// Gradients of the inputs, whose left operand is blocked as it is used, and of the weights.
fn backward<W: Word>(
    names: [&'static str; 2],
    sizes: [usize; 3],
    budget: Duration,
    peak: fn(Duration) -> Option<f64>,
) -> [ProductRate; 2] {
    let [tokens, inputs, outputs] = sizes;
    let peak = peak(budget);
    let grad = values(tokens * outputs);
    let weights = Panels::<W>::round_transposed(&values(inputs * outputs), outputs);
    let of_inputs = rate(sizes, budget, || {
        let mut dx = Uninit::new(tokens * inputs);
        let bands = dx.chunks(ROWS_PER_BAND * inputs).zip(grad.chunks(ROWS_PER_BAND * outputs));
        let mut rows = Rows::<W>::default();
        for (dx, grad) in bands {
            rows.fill(grad, &[(outputs, 1.0)]);
            blocked::product(&rows, &weights, dx);
        }
        black_box(dx.finish());
    });
    let x = Columns::<W>::round(&values(tokens * inputs), inputs);
    let grad = Panels::<W>::round(&grad, outputs);
    let of_weights = rate(sizes, budget, || {
        black_box(blocked::transposed_product(&x, &grad, &[outputs]));
    });
    let [inputs, weights] = names;
    [
        ProductRate { product: inputs, rate: of_inputs, peak },
        ProductRate { product: weights, rate: of_weights, peak },
    ]
}

/// The highest rate of several products of these sizes.
fn rate(sizes: [usize; 3], budget: Duration, mut multiply: impl FnMut()) -> f64 {
    let multiplications = sizes.iter().map(|&size| size as f64).product::<f64>();
    multiply();
    let started = Instant::now();
    let mut best = 0.0_f64;
    while started.elapsed() < budget {
        let one = Instant::now();
        multiply();
        best = best.max(multiplications / one.elapsed().as_secs_f64());
    }
    best
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 2003) as f32 / 1000.0 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_product_is_faster_than_registers() {
        let rates = product_rates(48, 64, 96, Duration::from_millis(20));
        assert_eq!(rates[0].product, "int8: outputs");
        assert_eq!(rates.len(), if isa::short_operands().is_some() { 5 } else { 3 });
        for ProductRate { product, rate, peak } in rates {
            assert!(rate > 1e6, "{product}: {rate:e}");
            // On a machine with other work a reading of the peak may be low.
            assert!(peak.is_none_or(|peak| rate < 4.0 * peak), "{product}: {rate:e} of {peak:?}");
        }
    }
}
