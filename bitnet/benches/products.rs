//! The products of a layer on one core, and their share of what the core can do, by the instructions
//! that `BITNET_ISA` allows: `BITNET_ISA=avx2 cargo bench --bench products`.

use std::time::Duration;

use bitnet::{packed::Isa, speed::product_rates};

/// Tokens, inputs and outputs: gate and up projection of the shapes quickstart, medium and 2B4T.
const LAYERS: [[usize; 3]; 3] = [[1024, 192, 1024], [2048, 384, 2048], [512, 2560, 13824]];

fn main() {
    println!("{}, one thread; GMAC/s", Isa::best());
    for [tokens, inputs, outputs] in LAYERS {
        println!("\n{tokens} tokens, {inputs} inputs, {outputs} outputs");
        for rate in product_rates(tokens, inputs, outputs, Duration::from_millis(500)) {
            let (peak, share) = match rate.peak {
                Some(peak) => {
                    (format!("{:.0}", peak / 1e9), format!("{:.0} %", 100.0 * rate.rate / peak))
                }
                None => ("not known".into(), "-".into()),
            };
            println!("{:28} {:8.0} of {peak:>9}  {share}", rate.product, rate.rate / 1e9);
        }
    }
}
