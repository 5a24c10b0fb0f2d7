//! The settings that are a choice among named things.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Where the images come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Data {
    /// The images that are shipped in the repository: 10,000 of Fashion-MNIST.
    #[default]
    Bundled,
    /// A file or folder on this machine.
    Path(PathBuf),
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        if text == "bundled" { Self::Bundled } else { Self::Path(text.into()) }
    }
}

impl From<Data> for String {
    fn from(data: Data) -> Self {
        data.to_string()
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How the images are shared out among the peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partition {
    /// From a file that lists each peer's images.
    File(PathBuf),
    /// Each class is shared out by a Dirichlet draw with this concentration; small means very unlike peers.
    Dirichlet(f64),
    /// Each peer holds this many classes ("pathological" in the literature).
    ClassesPerNode(usize),
    /// Every peer holds every class.
    Iid,
}

impl Default for Partition {
    fn default() -> Self {
        Self::Dirichlet(0.1)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Dirichlet(alpha) => write!(f, "Dirichlet {alpha}"),
            Self::ClassesPerNode(classes) => write!(f, "{classes} classes per peer"),
            Self::Iid => f.write_str("i.i.d."),
        }
    }
}

/// How many images a peer keeps at most: the first ones of its lists, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Cap {
    /// All of them.
    Unlimited,
    /// At most so many.
    At {
        /// Images to train on.
        train: usize,
        /// Images to test on.
        test: usize,
    },
}

impl FromStr for Cap {
    type Err = Error;

    /// Reads `200/100` (train/test) or `none`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::Parse {
            text: text.to_owned(),
            what: "a cap on images per peer",
            right: "write TRAIN/TEST such as 200/100, or none",
        };
        if text == "none" {
            return Ok(Self::Unlimited);
        }
        let (train, test) = text.split_once('/').ok_or_else(bad)?;
        let train = train.trim().parse().map_err(|_| bad())?;
        let test = test.trim().parse().map_err(|_| bad())?;
        Ok(Self::At { train, test })
    }
}

impl TryFrom<String> for Cap {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Cap> for String {
    fn from(cap: Cap) -> Self {
        cap.to_string()
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("none"),
            Self::At { train, test } => write!(f, "{train}/{test}"),
        }
    }
}

/// An enum whose members have one name each: in files, on the command line and in print.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident, $what:literal, $right:literal, { $($(#[$doc:meta])* $member:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $member,)+
        }

        impl $name {
            /// Every choice, the default first.
            pub const ALL: &'static [Self] = &[$(Self::$member),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$member => $text),+ })
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($text => Ok(Self::$member),)+
                    _ => Err(Error::Parse { text: text.to_owned(), what: $what, right: $right }),
                }
            }
        }
    };
}

named!(
    /// How the peers' bytes travel.
    Transport, "a transport", "choose tcp, quic, memory or virtual", {
        /// TCP over the loopback interface, with Noise and Yamux.
        #[default]
        Tcp = "tcp",
        /// QUIC over the loopback interface.
        Quic = "quic",
        /// Inside the process, for many peers on a small machine.
        Memory = "memory",
        /// Not at all: nodes, network and clock are simulated, and the seed fixes everything.
        Virtual = "virtual",
    }
);

named!(
    /// How numbers are packed into an update.
    Codec, "a codec", "choose i32, f16 or int8", {
        /// Fixed point, exact, four bytes a number.
        #[default]
        I32 = "i32",
        /// Half precision, two bytes a number.
        F16 = "f16",
        /// Blocks of bytes with a common scale, about one byte a number.
        Int8 = "int8",
    }
);

named!(
    /// What computes the training steps.
    Device, "a device", "choose flex, ndarray, wgpu or cuda", {
        /// The default on the CPU.
        #[default]
        Flex = "flex",
        /// The older CPU device, far slower; for parity tests. Needs the feature `ndarray`.
        Ndarray = "ndarray",
        /// Any GPU. Needs the feature `wgpu`.
        Wgpu = "wgpu",
        /// An NVIDIA GPU. Needs the feature `cuda`.
        Cuda = "cuda",
    }
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cap_is_read_as_it_is_printed() {
        for text in ["200/100", "none"] {
            assert_eq!(text.parse::<Cap>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_cap_without_a_slash_is_refused_with_an_example() {
        let message = "200".parse::<Cap>().unwrap_err().to_string();
        assert!(message.contains("`200`") && message.contains("200/100"), "{message}");
    }

    #[test]
    fn every_named_choice_is_read_as_it_is_printed() {
        for transport in Transport::ALL {
            assert_eq!(transport.to_string().parse::<Transport>().unwrap(), *transport);
        }
        for codec in Codec::ALL {
            assert_eq!(codec.to_string().parse::<Codec>().unwrap(), *codec);
        }
        for device in Device::ALL {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), *device);
        }
    }

    #[test]
    fn an_unknown_device_is_refused_with_the_choices() {
        let message = "tpu".parse::<Device>().unwrap_err().to_string();
        assert!(message.contains("`tpu`") && message.contains("flex, ndarray, wgpu or cuda"), "{message}");
    }
}
