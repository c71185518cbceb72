/// A stretch of tokens to be evaluated: the inputs are `start .. start + len`, the targets one
/// token later. The first `context` targets were counted by an earlier window and only give
/// context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Position of the first input.
    pub start: usize,
    /// Number of inputs.
    pub len: usize,
    /// Targets at the start that are not counted.
    pub context: usize,
}

/// Covers `tokens` tokens so that every one but the first is predicted exactly once.
///
/// Windows are `seq_len` long and `stride` apart: with `stride = seq_len` they are disjoint, with
/// a smaller one every prediction but those of the first window sees at least
/// `seq_len − stride` tokens of context. The last window may be shorter.
pub fn windows(tokens: usize, seq_len: usize, stride: usize) -> Vec<Window> {
    let (seq_len, stride) = (seq_len.max(1), stride.clamp(1, seq_len.max(1)));
    let targets = tokens.saturating_sub(1);
    let mut windows = Vec::new();
    let mut counted = 0;
    while counted < targets {
        let start = windows.len() * stride;
        let len = seq_len.min(targets - start);
        windows.push(Window { start, len, context: counted - start });
        counted = start + len;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_by_hand() {
        let expected = [
            Window { start: 0, len: 4, context: 0 },
            Window { start: 4, len: 4, context: 0 },
            Window { start: 8, len: 1, context: 0 },
        ];
        assert_eq!(windows(10, 4, 4), expected);
        assert_eq!(windows(1, 4, 4), []);
    }

    proptest::proptest! {
        #[test]
        fn every_target_is_counted_once(tokens in 0usize..200, seq in 1usize..20, stride in 1usize..20) {
            let mut counts = vec![0; tokens];
            for window in windows(tokens, seq, stride) {
                assert!(window.len <= seq);
                for target in window.start + window.context..window.start + window.len {
                    counts[target + 1] += 1;
                }
            }
            assert!(counts.iter().skip(1).all(|&count| count == 1));
        }
    }
}
