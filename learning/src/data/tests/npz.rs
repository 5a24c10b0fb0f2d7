use npyz::WriterBuilder;
use npyz::npz::NpzWriter;

use super::*;

/// Arrays of an `.npz` in the making.
struct Npz {
    folder: TempDir,
    writer: NpzWriter<std::io::BufWriter<std::fs::File>>,
}

impl Npz {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let writer = NpzWriter::create(folder.path().join("made.npz")).unwrap();
        Self { folder, writer }
    }

    fn with<T: npyz::AutoSerialize + Copy>(mut self, name: &str, shape: &[u64], values: &[T]) -> Self {
        let mut array =
            self.writer.array(name, Default::default()).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
        array.extend(values.iter().copied()).unwrap();
        array.finish().unwrap();
        self
    }

    fn load(self) -> Result<Dataset, DataError> {
        drop(self.writer);
        Dataset::load(&self.folder.path().join("made.npz"))
    }

    fn refused(self, reason: &str) -> DataError {
        let error = self.load().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("made.npz") && text.contains(reason), "`{reason}`: {text}");
        error
    }
}

#[test]
fn keras_names_give_train_and_test() {
    let data = Npz::new()
        .with("x_test", &[1, 1, 2], &[5u8, 6])
        .with("y_test", &[1], &[1i64])
        .with("x_train", &[2, 1, 2], &[1u8, 2, 3, 4])
        .with("y_train", &[2, 1], &[0u8, 2])
        .load()
        .unwrap();
    assert_eq!(data.pixels, [1, 2, 3, 4, 5, 6]);
    assert_eq!((data.labels.as_slice(), data.train_len, data.classes()), ([0, 2, 1].as_slice(), 2, 3));
    assert_eq!(data.name, "made");
}

#[test]
fn channels_last_become_channels_first() {
    let channels_last = [1u8, 2, 3, 4, 5, 6];
    let data = Npz::new().with("images", &[1, 1, 2, 3], &channels_last).with("labels", &[1], &[0i32]).load().unwrap();
    assert_eq!(data.shape, ImageShape { channels: 3, height: 1, width: 2 });
    assert_eq!(data.pixels, [1, 4, 2, 5, 3, 6]);
    let channels_first = [1u8, 4, 2, 5, 3, 6];
    let again = Npz::new().with("images", &[1, 3, 1, 2], &channels_first).with("labels", &[1], &[0i32]).load().unwrap();
    assert_eq!(again.pixels, data.pixels);
}

#[test]
fn floats_from_0_to_1_are_rounded_to_bytes() {
    let npz = Npz::new().with("images", &[1, 2, 2], &[0.0f32, 1.0, 0.5, 0.2]).with("labels", &[1], &[0u16]);
    assert_eq!(npz.load().unwrap().pixels, [0, 255, 128, 51]);
    for bad in [1.5f64, -0.1, f64::NAN] {
        let npz = Npz::new().with("images", &[1, 1, 2], &[0.5, bad]).with("labels", &[1], &[0u16]);
        npz.refused("at flat position 1; float images go from 0 to 1");
    }
}

#[test]
fn arrays_that_do_not_fit_are_refused_with_what_would() {
    let one = |shape: &[u64]| Npz::new().with("images", shape, &vec![0u8; shape.iter().product::<u64>() as usize]);
    one(&[1, 1, 1]).refused("lacks labels");
    one(&[4]).with("labels", &[4], &[0u8; 4]).refused("images are [n, height, width]");
    one(&[1, 2, 2, 2]).with("labels", &[1], &[0u8]).refused("with 1 or 3 channels");
    one(&[2, 1, 1]).with("labels", &[1, 2], &[0u8; 2]).refused("labels are [n] or [n, 1]");
    one(&[1, 1, 1]).with("labels", &[1], &[0.0f32]).refused("labels are integers");
    one(&[1, 1, 1]).with("labels", &[1], &[-1i64]).refused("label -1 at position 0");
    Npz::new().with("images", &[1, 1, 1], &[0i32]).with("labels", &[1], &[0u8]).refused("images are uint8");
    Npz::new().with("weights", &[1], &[0u8]).refused("its arrays are [weights]");
    let error = one(&[2, 1, 1]).with("labels", &[3], &[0u8; 3]).refused("3 labels");
    assert!(matches!(error, DataError::CountMismatch { images: 2, labels: 3, .. }));
}

#[test]
fn a_shape_beyond_the_bounds_or_its_data_is_refused() {
    use std::io::Write;
    for (shape, reason) in
        [("(4000000000, 28, 28)", "more than the"), ("(2, 2, 2)", "is cut short: 3 values, its shape needs 8")]
    {
        let mut npz = Npz::new();
        let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n").into_bytes();
        let zip = npz.writer.zip_writer();
        zip.start_file("images.npy", Default::default()).unwrap();
        zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
        zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        header.extend([1, 2, 3]);
        zip.write_all(&header).unwrap();
        npz.with("labels", &[2], &[0u8; 2]).refused(reason);
    }
}

#[test]
fn what_is_no_zip_is_refused_with_its_name() {
    let folder = folder_of(&[("made.npz", b"not a zip")]);
    refused(&folder.path().join("made.npz"), "made.npz");
}

#[test]
fn a_header_that_is_announced_too_long_is_refused_unread() {
    let mut made = Npz::new().with("y_train", &[1], &[0u8]);
    let zip = made.writer.zip_writer();
    zip.start_file("x_train.npy", Default::default()).unwrap();
    let start = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes()].concat();
    std::io::Write::write_all(zip, &start).unwrap();
    made.refused("its header has 4294967295 bytes, at most 65536 are read");
}
