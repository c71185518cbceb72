use std::fmt;

use serde::{Deserialize, Serialize};

/// A Burn backend that a configuration can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// `flex`: Burn's portable CPU backend.
    Flex,
    /// `ndarray`: the older CPU backend.
    NdArray,
    /// `wgpu`: GPUs of all makers, through Vulkan or Metal.
    Wgpu,
    /// `tch`: LibTorch, on CPUs and on NVIDIA GPUs.
    Tch,
    /// `cuda`: NVIDIA GPUs, by Burn's own kernels.
    Cuda,
}

impl BackendKind {
    /// All backends, compiled in or not.
    pub const ALL: [Self; 5] = [Self::Flex, Self::NdArray, Self::Wgpu, Self::Tch, Self::Cuda];

    /// The name in configurations, which is also that of the cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Tch => "tch",
            Self::Cuda => "cuda",
        }
    }

    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The backends that are compiled in.
    pub fn compiled_in() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| kind.is_compiled_in())
    }

    /// Whether the cargo feature of that name is on.
    pub fn is_compiled_in(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::NdArray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Whether most operations run on the calling thread alone, so that several threads compute
    /// more. The others spread one operation over the whole device.
    pub fn is_single_threaded(self) -> bool {
        matches!(self, Self::Flex | Self::NdArray)
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
