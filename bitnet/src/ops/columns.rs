use std::ops::Range;

use burn::tensor::{Tensor, backend::Backend};

/// Matrices of equally many rows, side by side: in one tensor or each in its own, whichever was
/// cheaper to compute.
#[derive(Debug, Clone)]
pub(crate) enum Columns<B: Backend> {
    /// In one, `[rows, all columns]`; of each the number of columns.
    #[cfg_attr(
        not(any(feature = "flex", feature = "cuda")),
        allow(dead_code, reason = "composed forms keep them apart")
    )]
    Joined(Tensor<B, 2>, Vec<usize>),
    /// `[rows, columns]` each.
    Apart(Vec<Tensor<B, 2>>),
}

impl<B: Backend> Columns<B> {
    /// One matrix.
    pub(crate) fn one(matrix: Tensor<B, 2>) -> Self {
        Self::Apart(vec![matrix])
    }

    /// All of them in one tensor.
    pub(crate) fn joined(self) -> Tensor<B, 2> {
        match self {
            Self::Joined(all, _) => all,
            Self::Apart(mut matrices) if matrices.len() == 1 => matrices.remove(0),
            Self::Apart(matrices) => Tensor::cat(matrices, 1),
        }
    }

    /// Some rows of each.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        let of = |matrix: &Tensor<B, 2>| matrix.clone().narrow(0, rows.start, rows.len());
        match self {
            Self::Joined(all, widths) => Self::Joined(of(all), widths.clone()),
            Self::Apart(matrices) => Self::Apart(matrices.iter().map(of).collect()),
        }
    }

    /// Each in its own.
    pub(crate) fn apart(self) -> Vec<Tensor<B, 2>> {
        match self {
            Self::Joined(all, widths) if widths.len() == 1 => vec![all],
            Self::Joined(all, widths) => {
                let mut before = 0;
                let narrow = |width| {
                    before += width;
                    all.clone().narrow(1, before - width, width)
                };
                widths.into_iter().map(narrow).collect()
            }
            Self::Apart(matrices) => matrices,
        }
    }
}
