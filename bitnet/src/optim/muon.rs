use burn::{
    optim::{
        AdjustLrFn, Muon as PlainMuon, MuonConfig as PlainMuonConfig, MuonState as PlainMuonState,
        SimpleOptimizer, momentum::MomentumConfig,
    },
    record::Record,
    tensor::{Device, Tensor, backend::Backend},
};

use super::Schedule;

/// Configuration of [`Muon`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MuonConfig {
    /// Decay rate of the (Nesterov) momentum.
    pub momentum: f64,
    /// Newton–Schulz iterations.
    pub iterations: usize,
    /// Its weight decay is that of every step.
    pub schedule: Schedule,
}

impl MuonConfig {
    /// Creates the optimiser.
    pub fn init<B: Backend>(&self) -> Muon<B> {
        let muon = PlainMuonConfig::new()
            .with_momentum(MomentumConfig {
                momentum: self.momentum,
                dampening: 0.0,
                nesterov: true,
            })
            .with_ns_steps(self.iterations)
            .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
            .build();
        Muon { muon, schedule: self.schedule }
    }
}

/// Muon (kellerjordan.github.io/posts/muon): the momentum of a matrix's gradient, with all its
/// singular values moved near one by a quintic Newton–Schulz iteration.
///
/// The update is scaled by `0.2 · √max(rows, columns)` (arXiv 2502.16982, §2.2): its root mean
/// square is then about that of AdamW's updates, so that both take one learning rate and one
/// weight decay. (The other usual scale, `√max(1, rows / columns)`, depends on which of the two
/// dimensions is the input's, which is the first in Burn and the second in PyTorch.)
///
/// As [`AdamW`](super::AdamW)'s, the decoupled weight decay is scheduled, and a function of the
/// steps that a parameter has seen. For parameters of two dimensions only.
#[derive(Clone)]
pub struct Muon<B: Backend> {
    muon: PlainMuon<B>,
    schedule: Schedule,
}

/// What [`Muon`] keeps of a parameter.
#[derive(Record, Clone)]
pub struct MuonState<B: Backend, const D: usize> {
    /// Steps that it has seen.
    pub time: usize,
    /// The momentum.
    pub muon: PlainMuonState<B, D>,
}

impl<B: Backend> SimpleOptimizer<B> for Muon<B> {
    type State<const D: usize> = MuonState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let (time, state) = match state {
            Some(MuonState { time, muon }) => (time, Some(muon)),
            None => (0, None),
        };
        let decay = lr * self.schedule.weight_decay(time as u64);
        let tensor = if decay == 0.0 { tensor } else { tensor.mul_scalar(1.0 - decay) };
        let (tensor, state) = self.muon.step(lr, tensor, grad, state);
        (tensor, state.map(|muon| MuonState { time: time + 1, muon }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device<B>) -> Self::State<D> {
        let muon = <PlainMuon<B> as SimpleOptimizer<B>>::to_device(state.muon, device);
        MuonState { muon, ..state }
    }
}
