use std::cell::Cell;

/// What a rendering may cost: a unit is about a byte that is made. Templates of released models
/// take a few thousand for a message.
const UNITS_PER_RENDERING: usize = 1 << 23;
/// Cost of a statement or of a part of an expression.
pub(super) const UNITS_PER_STEP: usize = 16;
/// Cost of an item of a list.
pub(super) const UNITS_PER_ITEM: usize = 32;

/// Why a rendering ends early, in words.
#[derive(Debug, PartialEq)]
pub(super) struct Failure(pub(super) String);

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What is left of the time and the memory that a rendering may take: nothing is given back.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<usize>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(UNITS_PER_RENDERING) }
    }

    /// Pays for what is about to be done or made.
    pub(super) fn spend(&self, units: usize) -> Result<(), Failure> {
        match self.left.get().checked_sub(units) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(Failure::new("it does not come to an end, or makes too much of a text"))
            }
        }
    }
}
