//! Images of its own for each of a few peers.

use std::fs;
use std::path::Path;

use fedswarm_learning::data::Dataset;

/// Images of each peer; enough for all to have all classes.
pub(crate) const IMAGES: usize = 60;

/// Writes a folder of images in the format of MNIST: bundled ones, from this place on.
pub(crate) fn images(folder: &Path, from: usize) {
    let all = Dataset::bundled().unwrap();
    let rows = from..from + IMAGES;
    let size = all.shape.len();
    let pixels = all.pixels[rows.start * size..rows.end * size].to_vec();
    let labels = all.labels[rows].iter().map(|label| u8::try_from(*label).unwrap()).collect();
    let header = |magic: u32, extents: &[usize]| -> Vec<u8> {
        let extents = extents.iter().map(|n| u32::try_from(*n).unwrap());
        std::iter::once(magic).chain(extents).flat_map(u32::to_be_bytes).collect()
    };
    fs::create_dir_all(folder).unwrap();
    let write = |name: &str, header: Vec<u8>, body: Vec<u8>| fs::write(folder.join(name), [header, body].concat());
    write("train-images-idx3-ubyte", header(0x803, &[IMAGES, 28, 28]), pixels).unwrap();
    write("train-labels-idx1-ubyte", header(0x801, &[IMAGES]), labels).unwrap();
}
