use std::fmt;

use super::kernel::Kernels;

/// The instructions that the kernels are written for. All of them compute the same numbers, to the
/// bit: they differ in speed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust, for any processor: the reference of the others.
    Scalar,
    /// ARM (aarch64) with NEON.
    Neon,
    /// ARM (aarch64) with NEON and its dot products.
    NeonDot,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX2, FMA and AVX-VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 (F, BW) and its VNNI.
    Avx512Vnni,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Self; 6] =
        [Self::Avx512Vnni, Self::AvxVnni, Self::Avx2, Self::NeonDot, Self::Neon, Self::Scalar];

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        Kernels::of(self).is_some()
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Kernels::best().isa()
    }

    /// The name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "NEON",
            Self::NeonDot => "NEON dot products",
            Self::Avx2 => "AVX2",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx512Vnni => "AVX-512 VNNI",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
