//! Weights as flat vectors.
//!
//! Every parameter is a rank-1 tensor with a [`ParamSpec`]; the forward pass sees it reshaped, through [`Weights`]. So
//! optimiser, merge, checkpoint and export treat all models alike, and a reshape of contiguous data costs nothing.

use burn::tensor::{Device, Tensor, TensorData};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::tensor::{Schema, TensorSpec};

use crate::Error;

/// One parameter: its name within its part of the model, its shape, and the law of its first value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// Name, unique in its part, such as `conv1.weight`.
    pub name: String,
    /// Extent of each axis, outermost first. Linear weights are `[inputs, outputs]`, convolutions `[out, in, height, width]`.
    pub shape: Vec<usize>,
    /// Inputs that feed one output unit: first values are uniform in `+-1/sqrt(fan_in)` (PyTorch's default law, biases
    /// included), and zero where this is 0. Scales that start at one are stored as their offset from one.
    pub fan_in: usize,
}

impl ParamSpec {
    /// A parameter.
    #[must_use]
    pub fn new(name: impl Into<String>, shape: &[usize], fan_in: usize) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), fan_in }
    }

    /// Weight and bias of a fully connected layer.
    #[must_use]
    pub fn linear(name: &str, inputs: usize, outputs: usize) -> [Self; 2] {
        [
            Self::new(format!("{name}.weight"), &[inputs, outputs], inputs),
            Self::new(format!("{name}.bias"), &[outputs], inputs),
        ]
    }

    /// Weight and bias of a convolution with a square kernel.
    #[must_use]
    pub fn conv(name: &str, inputs: usize, outputs: usize, kernel: usize) -> [Self; 2] {
        let fan_in = inputs * kernel * kernel;
        [
            Self::new(format!("{name}.weight"), &[outputs, inputs, kernel, kernel], fan_in),
            Self::new(format!("{name}.bias"), &[outputs], fan_in),
        ]
    }

    /// Scale (as its offset from one) and shift of a normalisation.
    #[must_use]
    pub fn norm(name: &str, width: usize) -> [Self; 2] {
        [Self::new(format!("{name}.scale"), &[width], 0), Self::new(format!("{name}.shift"), &[width], 0)]
    }

    /// Number of values.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // An empty parameter is refused by the schema's own check.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Number of values of all parameters together.
#[must_use]
pub fn count(specs: &[ParamSpec]) -> usize {
    specs.iter().map(ParamSpec::len).sum()
}

/// The specs as protocol tensors, named `prefix.name`.
///
/// # Errors
/// [`Error::Tensor`] if the protocol refuses a shape or a name; extents beyond `u32` count as such.
pub fn schema<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [ParamSpec])>) -> Result<Schema, Error> {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX); // Refused below: too many coordinates.
    let mut tensors = Vec::new();
    for (prefix, specs) in parts {
        for spec in specs {
            let shape: Vec<u32> = spec.shape.iter().map(|&n| narrow(n)).collect();
            tensors.push(TensorSpec::new(format!("{prefix}.{}", spec.name), &shape, narrow(spec.fan_in)));
        }
    }
    let schema = Schema { tensors };
    schema.check()?;
    Ok(schema)
}

/// First values for a part of a model: the protocol's genesis law, so that a run's seed fixes them bit for bit.
///
/// # Errors
/// As [`schema`].
pub fn initial(prefix: &str, specs: &[ParamSpec], seed: &Digest) -> Result<Vec<f32>, Error> {
    let schema = schema([(prefix, specs)])?;
    Ok(schema.dequantise(&schema.genesis(seed))?)
}

/// The parameters of one part of a model on a device, in declaration order.
#[derive(Clone, Debug)]
pub struct Parameters {
    specs: Vec<ParamSpec>,
    values: Vec<Tensor<1>>,
}

impl Parameters {
    /// Parameters with the given flat values.
    ///
    /// # Errors
    /// [`Error::Length`] if `flat` is not as long as the specs say.
    pub fn from_flat(specs: Vec<ParamSpec>, flat: &[f32], device: &Device) -> Result<Self, Error> {
        let values = upload(&specs, flat, device)?;
        Ok(Self { specs, values })
    }

    /// Replaces all values.
    ///
    /// # Errors
    /// [`Error::Length`] if `flat` is not as long as the specs say.
    pub fn set_flat(&mut self, flat: &[f32], device: &Device) -> Result<(), Error> {
        self.values = upload(&self.specs, flat, device)?;
        Ok(())
    }

    /// All values, one parameter after the other.
    ///
    /// # Errors
    /// [`Error::Device`] if the device does not hand them back.
    pub fn to_flat(&self) -> Result<Vec<f32>, Error> {
        download(&self.values)
    }

    /// The specs, in order.
    #[must_use]
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    /// The tensors, in order; plain, without autodiff.
    #[must_use]
    pub fn values(&self) -> &[Tensor<1>] {
        &self.values
    }

    /// The tensors, to be replaced by an optimiser.
    pub(crate) fn values_mut(&mut self) -> &mut [Tensor<1>] {
        &mut self.values
    }

    /// Copies that record a graph and keep their gradients.
    #[must_use]
    pub fn tracked(&self) -> Vec<Tensor<1>> {
        self.values.iter().map(|v| v.clone().autodiff().require_grad()).collect()
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> usize {
        count(&self.specs)
    }
}

/// Cuts a flat vector into one tensor per spec.
pub(crate) fn upload(specs: &[ParamSpec], flat: &[f32], device: &Device) -> Result<Vec<Tensor<1>>, Error> {
    let expected = count(specs);
    if flat.len() != expected {
        return Err(Error::Length { what: "parameters", expected, found: flat.len() });
    }
    let mut rest = flat;
    Ok(specs
        .iter()
        .map(|spec| {
            let (head, tail) = rest.split_at(spec.len());
            rest = tail;
            Tensor::from_data(TensorData::new(head.to_vec(), [spec.len()]), device)
        })
        .collect())
}

/// Joins tensors into one flat vector.
pub(crate) fn download(values: &[Tensor<1>]) -> Result<Vec<f32>, Error> {
    let mut flat = Vec::with_capacity(values.iter().map(|v| v.dims()[0]).sum());
    for value in values {
        flat.extend(to_vec(value.clone())?);
    }
    Ok(flat)
}

/// A tensor's values, read back to the host.
pub(crate) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Error> {
    tensor.try_into_vec_as::<f32>().map_err(|e| Error::Device(e.to_string()))
}

/// A forward pass's view of its parameters: each call takes the next one, in the order in which they were declared.
#[derive(Debug)]
pub struct Weights<'a> {
    owner: &'a str,
    specs: &'a [ParamSpec],
    values: &'a [Tensor<1>],
    next: usize,
}

impl<'a> Weights<'a> {
    /// A view of `values`, which lie as `specs` says; `owner` names the architecture in errors.
    #[must_use]
    pub fn new(owner: &'a str, specs: &'a [ParamSpec], values: &'a [Tensor<1>]) -> Self {
        Self { owner, specs, values, next: 0 }
    }

    /// The next parameter, in its declared shape.
    ///
    /// # Errors
    /// [`Error::Architecture`] if there is none left or its rank is not `D`: declaration and forward pass disagree.
    pub fn take<const D: usize>(&mut self) -> Result<Tensor<D>, Error> {
        let refuse = |reason: String| Err(self.refusal(reason));
        let (Some(spec), Some(value)) = (self.specs.get(self.next), self.values.get(self.next)) else {
            return refuse(format!("its forward pass asks for more than the {} declared parameters", self.specs.len()));
        };
        let Ok(shape) = <[usize; D]>::try_from(spec.shape.as_slice()) else {
            return refuse(format!(
                "parameter {} has shape {:?}, the forward pass wants rank {D}",
                spec.name, spec.shape
            ));
        };
        self.next += 1;
        Ok(value.clone().reshape(shape))
    }

    /// An error in the name of whoever reads these parameters.
    pub(crate) fn refusal(&self, reason: String) -> Error {
        Error::Architecture { name: self.owner.to_owned(), reason }
    }

    /// How many parameters have not been taken.
    #[must_use]
    pub fn left(&self) -> usize {
        self.specs.len() - self.next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn first_values_follow_pytorchs_default_law() {
        let specs = ParamSpec::linear("fc", 100, 50);
        let seed = Digest([7; 32]);
        let values = initial("x", &specs, &seed).unwrap();
        assert_eq!(values.len(), 5_050);
        assert!(values.iter().all(|v| v.abs() <= 0.1), "1/sqrt(100)");
        let mean = values.iter().sum::<f32>() / 5_050.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 5_050.0;
        // A uniform law on +-b has variance b^2/3; 5,050 draws leave about 1.3 % of error.
        assert!(mean.abs() < 0.003, "{mean}");
        assert!((variance - 0.01 / 3.0).abs() < 0.0002, "{variance}");
        assert!(values[5_000..].iter().any(|v| v.abs() > 0.05), "biases are drawn too");
        assert_eq!(values, initial("x", &specs, &seed).unwrap());
        assert!(initial("n", &ParamSpec::norm("n", 4), &seed).unwrap().iter().all(|&v| v == 0.0));
    }

    #[test]
    fn flat_values_round_trip_and_a_wrong_length_is_refused() {
        let device = Device::flex();
        let specs = ParamSpec::conv("c", 2, 3, 5).to_vec();
        let flat: Vec<f32> = (0..count(&specs)).map(|i| i as f32).collect();
        let p = Parameters::from_flat(specs.clone(), &flat, &device).unwrap();
        assert_eq!(p.to_flat().unwrap(), flat);
        let text = Parameters::from_flat(specs, &flat[1..], &device).unwrap_err().to_string();
        assert_eq!(text, "parameters: expected 153 values, found 152");
    }

    #[test]
    fn a_forward_pass_that_asks_for_too_much_is_told_so() {
        let device = Device::flex();
        let specs = vec![ParamSpec::new("w", &[2, 3], 2)];
        let p = Parameters::from_flat(specs, &[0.0; 6], &device).unwrap();
        let mut view = Weights::new("mine", p.specs(), p.values());
        assert!(view.take::<3>().unwrap_err().to_string().contains("wants rank 3"));
        assert_eq!(view.take::<2>().unwrap().dims(), [2, 3]);
        assert!(view.take::<2>().unwrap_err().to_string().contains("more than the 1 declared"));
    }
}
