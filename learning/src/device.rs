//! Where tensors live: the devices of this build, by name.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::Error;

/// A kind of device. Which ones a build can open is decided by cargo features; [`DeviceKind::open`] says which is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The CPU, one thread per member: always there.
    #[default]
    Flex,
    /// burn's older CPU backend, deprecated upstream and far slower; for parity tests (`--features ndarray`).
    Ndarray,
    /// Any GPU with Vulkan, Metal or DirectX (`--features wgpu`).
    Wgpu,
    /// The first NVIDIA GPU (`--features cuda`).
    Cuda,
}

impl DeviceKind {
    /// All kinds, in the order in which help texts list them.
    pub const ALL: [Self; 4] = [Self::Flex, Self::Ndarray, Self::Wgpu, Self::Cuda];

    /// The name, which is also that of the cargo feature.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// The device, without autodiff: training turns it on per tensor, evaluation never does.
    ///
    /// # Errors
    /// [`Error::DeviceMissing`] if the build lacks the cargo feature.
    pub fn open(self) -> Result<Device, Error> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)] // That is why it is no default.
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0usize)),
            #[allow(unreachable_patterns)] // Reachable unless every feature is on.
            missing => Err(Error::DeviceMissing { device: missing.name() }),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| Error::Unknown {
            kind: "device",
            name: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_device_is_found_by_its_name_and_others_are_refused_with_the_list() {
        for kind in DeviceKind::ALL {
            assert_eq!(kind.name().parse::<DeviceKind>().unwrap(), kind);
        }
        let text = "tpu".parse::<DeviceKind>().unwrap_err().to_string();
        assert_eq!(text, "unknown device \"tpu\"; known: flex, ndarray, wgpu, cuda");
    }

    #[test]
    fn flex_opens_in_every_build() {
        assert!(!DeviceKind::Flex.open().unwrap().is_autodiff());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_missing_device_names_its_cargo_feature() {
        let text = DeviceKind::Cuda.open().unwrap_err().to_string();
        assert!(text.contains("--features cuda"), "{text}");
    }
}
