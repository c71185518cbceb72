//! How fast a device computes: what speeds of training and of inference are measured against.

mod matmul_peak;
mod product_rates;

pub use matmul_peak::matmul_peak;
pub use product_rates::{ProductRate, product_rates};
