//! Fashion-MNIST's class names, which its files do not carry: the set is known by its labels.

use super::Dataset;

/// In label order, from the set's own documentation (arXiv:1708.07747, table 2).
const CLASS_NAMES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// SHA-256 of the labels: train then test, train alone, test alone.
const LABELS_SHA256: [&str; 3] = [
    "8ab940a680640f36c0bf1d2549cb2f3b3d4068c12547116cc7b1161b1d26663d",
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
];

/// Names the set and its classes if these are Fashion-MNIST's labels and nothing else has named the classes.
pub(super) fn name_if_known(dataset: &mut Dataset) {
    let numbered = dataset.class_names.iter().enumerate().all(|(i, name)| *name == i.to_string());
    if numbered && dataset.classes() == CLASS_NAMES.len() && LABELS_SHA256.contains(&dataset.labels_sha256().as_str()) {
        dataset.name = "fashion-mnist".into();
        dataset.class_names = CLASS_NAMES.map(String::from).to_vec();
    }
}
