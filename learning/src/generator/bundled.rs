//! The generators inside the program, so that a host needs no download. `docs/results/generators.md` says how they were made.

use super::Native;
use super::files::inner;
use crate::Error;

/// Names of the bundled generators.
///
/// * `digits`: trained on 20,000 handwritten digits of MNIST; far from pictures of clothes.
/// * `fashion`: trained on the 60,000 training images of Fashion-MNIST, without any that equals an image of
///   [`Dataset::bundled`](crate::data::Dataset::bundled). It is for that set alone: peers that hold other images of
///   Fashion-MNIST may hold images that it has seen.
pub const BUNDLED: [&str; 2] = ["digits", "fashion"];

const DIGITS: &[u8] = include_bytes!("../../assets/generators/digits.safetensors");
const FASHION: &[u8] = include_bytes!("../../assets/generators/fashion.safetensors");

/// The bundled generator with this name.
///
/// # Errors
/// [`Error::Unknown`] with the names that there are.
pub fn bundled(name: &str) -> Result<Native, Error> {
    let bytes = match name {
        "digits" => DIGITS,
        "fashion" => FASHION,
        _ => {
            return Err(Error::Unknown { kind: "generator", name: name.to_owned(), known: BUNDLED.join(", ") });
        }
    };
    Native::from_bytes(bytes).map_err(|e| Error::Generator(format!("bundled {name}: {}", inner(e))))
}
