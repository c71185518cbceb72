//! Values of quantised weights: of all linears together, and of each block.

use super::{Field, Report};

/// What stands between the value of all linears and those of the blocks.
const BY_BLOCK: &str = ", by block: ";

impl Field {
    /// The value of a report as the dashboard shows it: where it is one of quantised weights, that
    /// of all linears together, then that of each block.
    pub fn show(self, report: &Report) -> String {
        let total = self.format(self.of(report));
        if report.blocks.is_empty() || !Self::QUANTIZATION.contains(&self) {
            return total;
        }
        let of_block =
            |&quantization| self.of(&Report { quantization, blocks: Vec::new(), ..*report });
        let blocks: Vec<String> =
            report.blocks.iter().map(|block| self.format(of_block(block))).collect();
        total + BY_BLOCK + &blocks.join(" ")
    }

    /// Takes what [`Field::show`] made apart: the value, and that of each block.
    pub fn parts(shown: &str) -> (&str, Vec<&str>) {
        match shown.split_once(BY_BLOCK) {
            Some((total, blocks)) => (total, blocks.split(' ').collect()),
            None => (shown, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Quantization;

    #[test]
    fn quantization_is_shown_of_all_and_by_block() {
        let block = |zeros: f64| Quantization { zeros, ..Quantization::EMPTY };
        let mut report = Report { quantization: block(0.25), ..Report::EMPTY };
        assert_eq!(Field::Zeros.show(&report), "0.250");
        report.blocks = vec![block(0.2), block(0.3)];
        assert_eq!(Field::Zeros.show(&report), "0.250, by block: 0.200 0.300");
        assert_eq!(Field::parts("0.250, by block: 0.200 0.300"), ("0.250", vec!["0.200", "0.300"]));
        assert_eq!(Field::parts("0.250"), ("0.250", vec![]));
        report.loss = 1.5;
        assert_eq!(Field::Loss.show(&report), "1.5000");
    }
}
