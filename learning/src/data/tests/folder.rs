use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use super::*;

fn encode(image: impl Into<image::DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn grey(width: u32, height: u32, level: u8) -> Vec<u8> {
    encode(GrayImage::from_pixel(width, height, Luma([level])), ImageFormat::Png)
}

fn colour(width: u32, height: u32, rgb: [u8; 3]) -> Vec<u8> {
    encode(RgbImage::from_pixel(width, height, Rgb(rgb)), ImageFormat::Png)
}

#[test]
fn folders_name_the_classes_and_grey_stays_grey() {
    let folder = folder_of(&[
        ("dogs/b.png", &grey(3, 2, 30)),
        ("dogs/a.PNG", &grey(3, 2, 20)),
        ("cats/z.png", &grey(3, 2, 10)),
        ("cats/notes.txt", b"ignored"),
        (".hidden/x", b"ignored"),
    ]);
    let data = Dataset::load(folder.path()).unwrap();
    assert_eq!(data.class_names, ["cats", "dogs"]);
    assert_eq!((data.labels.as_slice(), data.train_len), ([0, 1, 1].as_slice(), 3));
    assert_eq!(data.shape, ImageShape { channels: 1, height: 2, width: 3 });
    assert_eq!([data.pixels[0], data.pixels[6], data.pixels[12]], [10, 20, 30]);
}

#[test]
fn one_colour_image_makes_all_of_them_colour() {
    let folder = folder_of(&[
        ("train/a/1.png", &grey(1, 2, 9)),
        ("train/b/2.png", &colour(1, 2, [1, 2, 3])),
        ("test/a/3.png", &grey(1, 2, 7)),
    ]);
    let data = Dataset::load(folder.path()).unwrap();
    assert_eq!((data.train_len, data.shape.channels, data.labels.as_slice()), (2, 3, [0, 1, 0].as_slice()));
    assert_eq!(data.pixels, [9, 9, 9, 9, 9, 9, 1, 1, 2, 2, 3, 3, 7, 7, 7, 7, 7, 7]);
}

#[test]
fn jpegs_are_read_too() {
    let jpeg = encode(GrayImage::from_pixel(8, 8, Luma([200])), ImageFormat::Jpeg);
    let folder = folder_of(&[("a/1.jpg", &jpeg), ("b/1.jpeg", &jpeg)]);
    let data = Dataset::load(folder.path()).unwrap();
    assert_eq!((data.len(), data.shape.to_string().as_str()), (2, "1x8x8"));
    assert!(data.pixels.iter().all(|&p| p.abs_diff(200) <= 2));
}

#[test]
fn an_image_of_another_size_is_refused_with_its_name() {
    let folder = folder_of(&[("a/1.png", &grey(2, 2, 1)), ("a/2.png", &grey(2, 3, 1))]);
    let error = refused(folder.path(), "2.png has images of 1x3x2");
    assert!(matches!(error, DataError::ShapeMismatch { .. }), "{error}");
    assert!(error.to_string().contains("1.png has 1x2x2"), "{error}");
}

#[test]
fn a_broken_image_is_refused_with_its_name() {
    let folder = folder_of(&[("a/1.png", &grey(2, 2, 1)), ("b/broken.png", &grey(2, 2, 1)[..40])]);
    assert!(matches!(refused(folder.path(), "broken.png"), DataError::Image { .. }));
}

#[test]
fn an_oversized_image_is_refused_before_it_is_decoded() {
    let folder = folder_of(&[("a/wide.png", &grey(5000, 1, 1))]);
    assert!(matches!(refused(folder.path(), "wide.png"), DataError::Image { .. }));
}

#[test]
fn a_class_without_images_is_refused() {
    let folder = folder_of(&[("a/1.png", &grey(2, 2, 1)), ("empty/readme", b"")]);
    assert!(matches!(refused(folder.path(), "empty"), DataError::Missing { .. }));
}
