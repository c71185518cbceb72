//! Kernels in CUDA's own language, for what CubeCL does not reach: matrix products and attention on
//! the tensor cores of NVIDIA's GPUs.
//!
//! They are launched by the same runtime as all others, and so are in their order.

#![allow(unsafe_code, reason = "kernels are launched with the sizes that they read and write")]

mod attention;
mod gemm;

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::{
    CompilationError, Compiler, CubeTask,
    cuda::{CudaCompiler, CudaDevice, CudaRuntime},
    ir::{AddressType, Scope, StorageType},
    prelude::*,
    server::{
        ExecutionMode, KernelArguments, MetadataBindingInfo, TensorMapBinding, TensorMapMeta,
    },
    zspace::metadata::Metadata,
};
use cubecl_cpp::shared::SharedMemory;
use cudarc::driver::CudaContext;

pub(super) use attention::{Attended, FlashAttention};
pub(super) use gemm::{fits, multiply};

use crate::panics::catch_panic;

/// A kernel in CUDA's language.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CudaSource {
    /// Name of the function.
    name: &'static str,
    /// What is defined before the text.
    defines: Vec<(&'static str, u32)>,
    text: &'static str,
    /// Threads of a block.
    threads: u32,
    /// Bytes of shared memory of a block.
    shared: usize,
}

impl CudaSource {
    fn full(&self) -> String {
        let defines = self.defines.iter().map(|(name, value)| format!("#define {name} {value}\n"));
        defines.chain([self.text.to_owned()]).collect()
    }

    /// Launches blocks. The kernel takes the maps, the addresses of their tensors, those of the
    /// other tensors, and the numbers as one struct.
    ///
    /// # Safety
    /// The kernel must read and write within the tensors.
    unsafe fn launch<R: CubeRuntime>(
        self,
        blocks: [usize; 3],
        maps: Vec<TensorMapBinding>,
        tensors: &[&CubeTensor<R>],
        numbers: Vec<u64>,
    ) {
        let client: Box<dyn Any> = Box::new(tensors[0].client.clone());
        let client =
            client.downcast::<ComputeClient<CudaRuntime>>().expect("only launched for CUDA");
        let [x, y, z] = blocks.map(|blocks| blocks as u32);
        let dynamic_metadata_offset = numbers.len();
        let arguments = KernelArguments {
            buffers: tensors.iter().map(|tensor| tensor.handle.clone().binding()).collect(),
            info: MetadataBindingInfo { data: numbers, dynamic_metadata_offset },
            tensor_maps: maps,
        };
        // SAFETY: the caller promises that the kernel stays within the tensors it is given.
        unsafe {
            client.launch_unchecked(Box::new(self), CubeCount::Static(x, y, z), arguments);
        }
    }
}

/// A matrix as the copy engine takes it apart: in boxes of so many rows and columns, of which a row
/// has 128 bytes.
fn boxes<R: CubeRuntime>(matrix: &CubeTensor<R>, size: [usize; 2]) -> TensorMapBinding {
    let [rows, columns] = super::tensors::as_matrix(matrix);
    TensorMapBinding {
        binding: matrix.handle.clone().binding(),
        map: TensorMapMeta {
            format: TensorMapFormat::Tiled(TiledArgs { tile_size: size.into() }),
            metadata: Metadata::new([rows, columns], [columns, 1]),
            elem_stride: [1, 1].into(),
            interleave: TensorMapInterleave::None,
            swizzle: TensorMapSwizzle::B128,
            prefetch: TensorMapPrefetch::B128,
            oob_fill: OobFill::Zero,
            storage_ty: matrix.dtype.into(),
        },
    }
}

impl KernelMetadata for CudaSource {
    fn name(&self) -> &'static str {
        self.name
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.clone()).cube_dim(CubeDim::new_1d(self.threads))
    }

    fn address_type(&self) -> StorageType {
        AddressType::U32.unsigned_type()
    }
}

/// A kernel without a body, of which the runtime takes all but the text.
struct Empty(CubeDim);

impl KernelMetadata for Empty {
    fn id(&self) -> KernelId {
        KernelId::new::<Self>()
    }

    fn address_type(&self) -> StorageType {
        AddressType::U32.unsigned_type()
    }
}

impl CubeKernel for Empty {
    fn define(&self) -> KernelDefinition {
        KernelDefinition {
            buffers: Vec::new(),
            tensor_maps: Vec::new(),
            scalars: Vec::new(),
            cube_dim: self.0,
            body: Scope::root(false),
            options: KernelOptions::default(),
        }
    }
}

impl CubeTask<CudaCompiler> for CudaSource {
    fn compile(
        &self,
        compiler: &mut CudaCompiler,
        options: &<CudaCompiler as Compiler>::CompilationOptions,
        mode: ExecutionMode,
        address_type: StorageType,
    ) -> Result<CompiledKernel<CudaCompiler>, CompilationError> {
        let empty = KernelTask::<CudaCompiler, _>::new(Empty(CubeDim::new_1d(self.threads)));
        let mut kernel = empty.compile(compiler, options, mode, address_type)?;
        if let Some(repr) = &mut kernel.repr {
            let item = repr.body.address_type;
            repr.body.shared_memories = vec![SharedMemory::Array {
                index: 0,
                item,
                length: self.shared.div_ceil(item.size()),
                align: 128,
                offset: 0,
            }];
        }
        kernel.entrypoint_name = self.name.to_owned();
        kernel.debug_name = Some(self.name);
        kernel.source = self.full();
        Ok(kernel)
    }
}

/// Whether tensors are CUDA's, on a GPU that has what the kernels take (sm_80 and later).
pub(super) fn is_supported<R: CubeRuntime>(client: &ComputeClient<R>) -> bool {
    TypeId::of::<R>() == TypeId::of::<CudaRuntime>() && client.features().copy_async
}

/// Whether a tensor of CUDA is on a GPU of sm_90, whose kernels run on no other.
fn is_hopper<R: CubeRuntime>(tensor: &CubeTensor<R>) -> bool {
    static KNOWN: Mutex<Option<HashMap<usize, bool>>> = Mutex::new(None);
    let device: &dyn Any = &tensor.device;
    let Some(&CudaDevice { index }) = device.downcast_ref() else { return false };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known
        .get_or_insert_default()
        .entry(index)
        .or_insert_with(|| compute_capability(index).is_some_and(|capability| capability == (9, 0)))
}

/// Major and minor number of what a GPU can compute, if there is that GPU.
fn compute_capability(index: usize) -> Option<(i32, i32)> {
    let capability = || CudaContext::new(index)?.compute_capability();
    catch_panic(capability).ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_takes_the_place_of_an_empty_kernel() {
        let source = CudaSource {
            name: "twice",
            defines: vec![("FACTOR", 2)],
            text: "extern \"C\" __global__ void twice(float* x) { *x *= FACTOR; }",
            threads: 64,
            shared: 100_000,
        };
        let mode = ExecutionMode::Unchecked;
        let address = source.address_type();
        let kernel = source.compile(&mut Default::default(), &Default::default(), mode, address);
        let kernel = kernel.expect("nothing of it needs a GPU");
        assert_eq!(kernel.entrypoint_name, "twice");
        assert!(kernel.source.starts_with("#define FACTOR 2\nextern"));
        assert_eq!(kernel.cube_dim.num_elems(), 64);
        let shared = kernel.repr.expect("the runtime reads sizes from it").shared_memory_size();
        assert!((100_000..100_016).contains(&shared));
    }
}
