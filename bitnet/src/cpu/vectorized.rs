//! Loops that are compiled for several generations of vector units.

/// Defines functions whose bodies are compiled for each kind of vector unit; a call runs the one
/// for [`isa::vectors`](super::isa::vectors). What a body calls has to be inlined
/// (`#[inline(always)]`) to be compiled for that unit, too. All of them round alike: what is
/// contracted to a fused multiplication and addition is written so.
macro_rules! vectorized {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $output:ty)? $body:block
    )+) => {$(
        $(#[$meta])*
        #[allow(unsafe_code, reason = "functions for processors that have been asked")]
        $vis fn $name($($arg: $type),*) $(-> $output)? {
            #[inline(always)]
            fn portable($($arg: $type),*) $(-> $output)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $type),*) $(-> $output)? {
                    portable($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $output)? {
                    portable($($arg),*)
                }
                match $crate::cpu::isa::vectors() {
                    // SAFETY: `vectors` names units only that the processor has.
                    $crate::cpu::isa::Vectors::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: `vectors` names units only that the processor has.
                    $crate::cpu::isa::Vectors::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::cpu::isa::Vectors::Portable => {}
                }
            }
            portable($($arg),*)
        }
    )+};
}

pub(super) use vectorized;
