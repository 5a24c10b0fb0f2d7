//! The image set inside the program, so that it works without a path and without a network.

use std::path::Path;

use super::{DataError, Dataset, idx, join};

// Fashion-MNIST's test files as Debian ships them; licence and checksums lie beside them.
const IMAGES: &[u8] = include_bytes!("../../../data/fashion-mnist/t10k-images-idx3-ubyte.gz");
const LABELS: &[u8] = include_bytes!("../../../data/fashion-mnist/t10k-labels-idx1-ubyte.gz");

pub(super) fn load() -> Result<Dataset, DataError> {
    let part = idx::read_pair(
        IMAGES,
        Path::new("bundled/t10k-images-idx3-ubyte.gz"),
        LABELS,
        Path::new("bundled/t10k-labels-idx1-ubyte.gz"),
    )?;
    join("bundled".into(), None, Vec::new(), vec![part])
}
