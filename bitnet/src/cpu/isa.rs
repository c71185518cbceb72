//! Chooses the instruction set of all kernels at run time.

#[cfg(test)]
use std::cell::Cell;
use std::{env, fmt, str::FromStr, sync::OnceLock};

use thiserror::Error;

/// The variable of the environment that lowers the instruction set: one of [`Isa::key`], above
/// which nothing is used. For tests and measurements.
pub const ISA_VARIABLE: &str = "BITNET_ISA";

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

/// A name that no instruction set has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{ISA_VARIABLE}=\"{0}\": known are avx512-vnni, avx-vnni, avx2, neon-dot, neon and scalar")]
pub struct UnknownIsa(String);

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Self; 6] =
        [Self::Avx512Vnni, Self::AvxVnni, Self::Avx2, Self::NeonDot, Self::Neon, Self::Scalar];

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            _ => x86::has(self),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => {
                std::arch::is_aarch64_feature_detected!("neon")
                    && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The fastest that this processor has, at or below what [`ISA_VARIABLE`] says.
    pub fn best() -> Self {
        processor().isa
    }

    /// What [`ISA_VARIABLE`] says, if it is set. A name that is not known is not followed:
    /// the programs check it when they start.
    ///
    /// # Errors
    /// [`UnknownIsa`] for such a name.
    pub fn limit() -> Result<Option<Self>, UnknownIsa> {
        match env::var_os(ISA_VARIABLE) {
            Some(key) => key.to_string_lossy().parse().map(Some),
            None => Ok(None),
        }
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

    /// The name in [`ISA_VARIABLE`].
    pub fn key(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::NeonDot => "neon-dot",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512Vnni => "avx512-vnni",
        }
    }

    /// Whether it may be used where nothing above `limit` is.
    fn is_within(self, limit: Self) -> bool {
        let rank = |isa| Self::ALL.iter().position(|&other| other == isa);
        rank(self) >= rank(limit)
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(key: &str) -> Result<Self, UnknownIsa> {
        Self::ALL.into_iter().find(|isa| isa.key() == key).ok_or_else(|| UnknownIsa(key.into()))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The vector units that loops over floats are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// Those that every processor of the target has.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL).
    Avx512,
}

/// What is used of a processor.
#[derive(Debug, Clone, Copy)]
struct Processor {
    isa: Isa,
    vectors: Vectors,
    bf16: bool,
}

impl Processor {
    fn within(limit: Isa) -> Self {
        let usable = |isa: &Isa| isa.is_within(limit) && isa.is_available();
        let isa = Isa::ALL.into_iter().find(usable).unwrap_or(Isa::Scalar);
        #[cfg(target_arch = "x86_64")]
        let (vectors, bf16) = x86::vectors(limit);
        #[cfg(not(target_arch = "x86_64"))]
        let (vectors, bf16) = (Vectors::Portable, false);
        Self { isa, vectors, bf16 }
    }
}

/// The vector units of this processor that are used.
#[inline]
pub(crate) fn vectors() -> Vectors {
    processor().vectors
}

/// Whether products of bf16 pairs are used, which come with AVX-512.
#[inline]
pub(crate) fn has_bf16_products() -> bool {
    processor().bf16
}

/// What the operands of a product may be rounded to, to be multiplied faster than in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShortOperands {
    /// bf16.
    Bf16,
    /// Whole numbers of 16 bits, with a scale for each row or column.
    Int16,
}

/// The short operands that this processor multiplies fastest; `None` if it has no kernel that is
/// faster than that of f32.
#[inline]
pub(crate) fn short_operands() -> Option<ShortOperands> {
    match vectors() {
        _ if has_bf16_products() => Some(ShortOperands::Bf16),
        // Without VNNI a product and its addition are two instructions, and f32 is as fast.
        Vectors::Avx512 if !Isa::Avx512Vnni.is_available() => None,
        Vectors::Avx512 | Vectors::Avx2 => Some(ShortOperands::Int16),
        Vectors::Portable => None,
    }
}

/// Asked once only: on virtual machines the processor's answer takes long.
#[inline]
fn processor() -> Processor {
    static PROCESSOR: OnceLock<Processor> = OnceLock::new();
    #[cfg(test)]
    if let Some(limit) = LIMIT.get() {
        return Processor::within(limit);
    }
    *PROCESSOR.get_or_init(|| {
        let limit = Isa::limit().ok().flatten();
        Processor::within(limit.unwrap_or(Isa::Avx512Vnni))
    })
}

#[cfg(test)]
thread_local! {
    static LIMIT: Cell<Option<Isa>> = const { Cell::new(None) };
}

/// Runs a test on this thread with nothing above an instruction set.
#[cfg(test)]
pub(crate) fn limited<T>(limit: Isa, run: impl FnOnce() -> T) -> T {
    let before = LIMIT.replace(Some(limit));
    let result = run();
    LIMIT.set(before);
    result
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::is_x86_feature_detected as has;

    use super::{Isa, Vectors};

    fn has_avx2() -> bool {
        has!("avx2") && has!("fma")
    }

    fn has_avx512() -> bool {
        has_avx2() && has!("avx512f") && has!("avx512bw")
    }

    pub(super) fn has(isa: Isa) -> bool {
        match isa {
            Isa::Scalar => true,
            Isa::Avx2 => has_avx2(),
            Isa::AvxVnni => has_avx2() && has!("avxvnni"),
            Isa::Avx512Vnni => has_avx512() && has!("avx512vnni"),
            Isa::Neon | Isa::NeonDot => false,
        }
    }

    /// Vector units, and whether there are products of bf16.
    pub(super) fn vectors(limit: Isa) -> (Vectors, bool) {
        match limit {
            Isa::Avx512Vnni if has_avx512() && has!("avx512dq") && has!("avx512vl") => {
                (Vectors::Avx512, has!("avx512bf16"))
            }
            Isa::Avx512Vnni | Isa::AvxVnni | Isa::Avx2 if has_avx2() => (Vectors::Avx2, false),
            _ => (Vectors::Portable, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.key().parse(), Ok(isa));
        }
        let error = "sse9".parse::<Isa>().expect_err("no such instructions");
        assert!(error.to_string().starts_with("BITNET_ISA=\"sse9\": known are avx512-vnni"));
    }

    #[test]
    fn a_limit_is_kept_to() {
        let best = Isa::best();
        for limit in Isa::ALL {
            limited(limit, || {
                assert!(Isa::best().is_within(limit) && Isa::best().is_available());
                assert!(limit == Isa::Avx512Vnni || vectors() != Vectors::Avx512);
                assert!(limit == Isa::Avx512Vnni || !has_bf16_products());
            });
        }
        limited(Isa::Scalar, || {
            assert_eq!((Isa::best(), vectors()), (Isa::Scalar, Vectors::Portable));
        });
        assert_eq!(Isa::best(), best);
    }
}
