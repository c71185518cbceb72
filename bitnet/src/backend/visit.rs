use burn::tensor::backend::Backend;

use super::{BackendError, BackendKind, DeviceChoice, DeviceInfo, device::Found};

/// Work that is generic over the backend and waits for its type.
pub trait BackendVisitor {
    /// What the work results in.
    type Output;

    /// Does the work on `device`.
    fn visit<B: Backend>(self, device: B::Device) -> Self::Output;
}

/// Does not work on a backend, but with all its devices.
trait DevicesVisitor {
    type Output;

    fn devices<B: Backend>(self, found: Vec<Found<B::Device>>) -> Self::Output;
}

impl BackendKind {
    /// Calls `visitor` with the backend's type and the chosen device.
    ///
    /// # Errors
    /// If the backend is not compiled in, or has no such device.
    pub fn visit<V: BackendVisitor>(
        self,
        choice: &DeviceChoice,
        visitor: V,
    ) -> Result<V::Output, BackendError> {
        self.with_devices(Choose { kind: self, choice, visitor })?
    }

    /// The backend's devices, the fastest kind first: [`DeviceChoice::Index`] counts them.
    ///
    /// # Errors
    /// If the backend is not compiled in, or finds no device.
    pub fn devices(self) -> Result<Vec<DeviceInfo>, BackendError> {
        self.with_devices(List)
    }

    /// The chosen device.
    ///
    /// # Errors
    /// If the backend is not compiled in, or has no such device.
    pub fn device(self, choice: &DeviceChoice) -> Result<DeviceInfo, BackendError> {
        let mut devices = self.devices()?;
        let index = choice.find(self, &devices)?;
        Ok(devices.swap_remove(index))
    }

    /// The one place where names become types.
    fn with_devices<V: DevicesVisitor>(self, visitor: V) -> Result<V::Output, BackendError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(visitor.devices::<burn_flex::Flex>(super::host::devices())),
            #[cfg(feature = "ndarray")]
            Self::NdArray => Ok(visitor.devices::<burn_ndarray::NdArray>(super::host::devices())),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(visitor.devices::<burn_wgpu::Wgpu>(super::wgpu::devices()?)),
            #[cfg(feature = "tch")]
            Self::Tch => Ok(visitor.devices::<burn_tch::LibTorch>(super::tch::devices()?)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(visitor.devices::<burn_cuda::Cuda>(super::cuda::devices()?)),
            #[allow(unreachable_patterns, reason = "reachable when a feature is off")]
            _ => Err(BackendError::NotCompiledIn(self)),
        }
    }
}

struct List;

impl DevicesVisitor for List {
    type Output = Vec<DeviceInfo>;

    fn devices<B: Backend>(self, found: Vec<Found<B::Device>>) -> Self::Output {
        found.into_iter().map(|found| found.info).collect()
    }
}

struct Choose<'a, V> {
    kind: BackendKind,
    choice: &'a DeviceChoice,
    visitor: V,
}

impl<V: BackendVisitor> DevicesVisitor for Choose<'_, V> {
    type Output = Result<V::Output, BackendError>;

    fn devices<B: Backend>(self, mut found: Vec<Found<B::Device>>) -> Self::Output {
        let infos: Vec<DeviceInfo> = found.iter().map(|found| found.info.clone()).collect();
        let index = self.choice.find(self.kind, &infos)?;
        Ok(self.visitor.visit::<B>(found.swap_remove(index).device))
    }
}
