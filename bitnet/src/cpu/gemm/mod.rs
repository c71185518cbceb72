//! Products of matrices: of 8-bit codes in integers, in bfloat16, and small ones in 32 bits.

pub(crate) mod bf16;
pub(crate) mod bf16_operands;
pub(crate) mod int8;
pub(crate) mod small;
