use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{DataError, Tokens};

/// Inputs and the tokens that follow them.
#[derive(Debug, Clone)]
pub struct Batch<B: Backend> {
    /// `[batch, seq]`
    pub inputs: Tensor<B, 2, Int>,
    /// `[batch, seq]`: the inputs, one token later.
    pub targets: Tensor<B, 2, Int>,
}

impl<B: Backend> Batch<B> {
    /// Windows of `seq_len` inputs that begin at `starts`. All must lie within `tokens`, with one
    /// token to spare.
    pub fn gather(tokens: &Tokens, starts: &[usize], seq_len: usize, device: &B::Device) -> Self {
        let windows = |offset: usize| {
            let ids: Vec<i32> = starts
                .iter()
                .flat_map(|&start| tokens.range(start + offset..start + offset + seq_len))
                .map(|token| token as i32)
                .collect();
            Tensor::from_data(TensorData::new(ids, [starts.len(), seq_len]), device)
        };
        Self { inputs: windows(0), targets: windows(1) }
    }
}

/// Random training windows. The batch of an index is a pure function of the seed and the index,
/// so that a resumed run sees what an uninterrupted one would have seen.
#[derive(Debug, Clone)]
pub struct TrainBatches {
    tokens: Tokens,
    part: Range<usize>,
    batch_size: usize,
    seq_len: usize,
    seed: u64,
}

impl TrainBatches {
    /// Windows of `seq_len` inputs from the stretch `part` of `tokens`.
    ///
    /// # Errors
    /// [`DataError::TooShort`] if the stretch is shorter than one window.
    pub fn new(
        tokens: Tokens,
        part: Range<usize>,
        batch_size: usize,
        seq_len: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        if part.len() <= seq_len {
            return Err(DataError::TooShort {
                part: "training",
                actual: part.len(),
                needed: seq_len + 1,
            });
        }
        Ok(Self { tokens, part, batch_size, seq_len, seed })
    }

    /// Where the windows of batch `index` begin.
    pub fn starts(&self, index: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let last = self.part.end - self.seq_len - 1;
        (0..self.batch_size).map(|_| rng.random_range(self.part.start..=last)).collect()
    }

    /// Batch `index`.
    pub fn batch<B: Backend>(&self, index: u64, device: &B::Device) -> Batch<B> {
        Batch::gather(&self.tokens, &self.starts(index), self.seq_len, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(seed: u64) -> TrainBatches {
        TrainBatches::new((0..50).collect::<Vec<_>>().into(), 10..40, 64, 5, seed).unwrap()
    }

    #[test]
    fn windows_stay_in_their_part_and_reach_both_ends() {
        let starts: Vec<usize> = (0..20).flat_map(|i| batches(1).starts(i)).collect();
        assert_eq!(starts.iter().min(), Some(&10));
        assert_eq!(starts.iter().max(), Some(&34), "the last target is token 39");
    }

    #[test]
    fn a_batch_depends_on_seed_and_index_alone() {
        assert_eq!(batches(1).starts(7), batches(1).starts(7));
        assert_ne!(batches(1).starts(7), batches(1).starts(8));
        assert_ne!(batches(1).starts(7), batches(2).starts(7));
    }

    #[test]
    fn too_short_a_part_is_an_error() {
        let tokens = Tokens::from(vec![0; 6]);
        assert!(TrainBatches::new(tokens.clone(), 0..6, 1, 5, 0).is_ok());
        let error = TrainBatches::new(tokens, 0..5, 1, 5, 0).unwrap_err();
        assert!(matches!(error, DataError::TooShort { actual: 5, needed: 6, .. }));
    }

    #[cfg(feature = "flex")]
    #[test]
    fn targets_are_the_inputs_one_later() {
        let tokens = vec![5, 6, 7, 8].into();
        let batch = Batch::<burn_flex::Flex>::gather(&tokens, &[0, 1], 2, &Default::default());
        batch.inputs.into_data().assert_eq(&TensorData::from([[5, 6], [6, 7]]), false);
        batch.targets.into_data().assert_eq(&TensorData::from([[6, 7], [7, 8]]), false);
    }
}
