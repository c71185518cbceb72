use crate::config::Config;

/// What a search for a rate shortens and leaves out of a run: everything but its steps.
pub(super) fn stripped(base: &Config, steps: u64) -> Config {
    let mut config = base.clone();
    let train = &mut config.train;
    (train.tokens, train.epochs, train.tokens_per_parameter) = (None, None, None);
    train.steps = steps;
    train.minutes = 0.0;
    train.ema = 0.0;
    // A run that has gone up by a nat does not come back.
    train.max_rise = 1.0;
    config.sample.tokens = 0;
    config.eval.every = steps + 1;
    config.eval.patience = 0;
    config.checkpoint.every = steps.div_ceil(4);
    config.checkpoint.minutes = 0.0;
    (config.checkpoint.keep, config.checkpoint.keep_best, config.checkpoint.keep_every) = (1, 0, 0);
    config
}
