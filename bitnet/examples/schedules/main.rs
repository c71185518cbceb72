//! Draws the schedules into the documentation.
//!
//! Run with `cargo run --release --example schedules > docs/schedules.svg`.

mod draw;

fn main() {
    print!("{}", draw::svg());
}
