use std::cell::Cell;

/// What computes the operations of the model, where a backend has operations of its own. Both
/// compute the same within rounding.
///
/// A choice holds for what a thread does within [`scope`](Self::scope), and for no other thread.
/// A backward pass needs none: it follows the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Implementation {
    /// The backend's own operations, as far as it has them.
    #[default]
    Fused,
    /// Burn's operations alone, as on every other backend: slower there.
    Composed,
}

thread_local! {
    static CURRENT: Cell<Implementation> = const { Cell::new(Implementation::Fused) };
}

impl Implementation {
    /// That of this thread: [`Fused`](Self::Fused) outside of every [`scope`](Self::scope).
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Calls `work`, whose forward passes and optimiser steps on this thread are computed this way.
    /// Threads that it starts begin with the default: they are given [`current`](Self::current).
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        let _outer = Restore(CURRENT.replace(self));
        work()
    }
}

/// Sets the choice back, after a panic too.
struct Restore(Implementation);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use std::{panic::catch_unwind, sync::Barrier, thread};

    use burn::{backend::Autodiff, tensor::Tensor};
    use burn_flex::Flex;

    use super::*;
    use crate::ops::{autodiff::applied, mean_magnitude::mean_magnitude};

    /// How many operations of the backend's own a forward and a backward pass apply.
    fn passes() -> usize {
        let before = applied();
        let weight = Tensor::<Autodiff<Flex>, 2>::ones([2, 8], &Default::default());
        let weight = weight.require_grad();
        let grads = mean_magnitude(weight.clone(), &[0, 1]).backward();
        assert!(weight.grad(&grads).is_some());
        applied() - before
    }

    /// Each thread has its own, at the same time.
    #[test]
    fn threads_choose_apart() {
        let both_chose = Barrier::new(2);
        let count = |choice: Implementation| {
            let both_chose = &both_chose;
            move || {
                choice.scope(|| {
                    both_chose.wait();
                    passes()
                })
            }
        };
        thread::scope(|scope| {
            let fused = scope.spawn(count(Implementation::Fused));
            let composed = scope.spawn(count(Implementation::Composed));
            assert!(fused.join().unwrap() > 0);
            assert_eq!(composed.join().unwrap(), 0);
        });
        assert!(passes() > 0);
    }

    #[test]
    fn a_scope_ends_by_a_panic_too() {
        let inner = || Implementation::Composed.scope(|| panic!("in a scope"));
        assert!(catch_unwind(inner).is_err());
        assert_eq!(Implementation::current(), Implementation::Fused);
    }
}
