//! Reads the network's weights out of safetensors files.

use safetensors::tensor::{SafeTensors, TensorView};

use crate::Error;
use crate::floats::finite_floats;
use crate::transformer::TensorSource;

/// Most numbers of one tensor accepted; VGG's largest has 103 million.
const MOST_NUMBERS: usize = 1 << 28;

/// Tensors of an image encoder's file, or of several.
pub(super) struct Weights<'a> {
    files: Vec<SafeTensors<'a>>,
}

impl<'a> Weights<'a> {
    /// Reads the header of a file. The tensors themselves are checked when they are asked for.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::of_files([bytes])
    }

    /// Reads the headers of files that hold the tensors of one network.
    pub(super) fn of_files<B: AsRef<[u8]> + ?Sized + 'a>(
        files: impl IntoIterator<Item = &'a B>,
    ) -> Result<Self, Error> {
        let read = |file: &'a B| {
            SafeTensors::deserialize(file.as_ref())
                .map_err(|error| invalid(format!("it is not a safetensors file ({error})")))
        };
        Ok(Self { files: files.into_iter().map(read).collect::<Result<_, _>>()? })
    }

    fn find(&self, name: &str) -> Option<TensorView<'a>> {
        self.files.iter().find_map(|file| file.tensor(name).ok())
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The names of all tensors, sorted, and their shapes.
    pub(super) fn names(&self) -> Vec<(String, Vec<usize>)> {
        let mut names: Vec<_> = self
            .files
            .iter()
            .flat_map(|file| file.iter())
            .map(|(name, tensor)| (name.into(), tensor.shape().to_vec()))
            .collect();
        names.sort_unstable();
        names
    }

    /// The shape of tensor `name`, none of whose `N` sides may be zero.
    pub(super) fn sizes<const N: usize>(&self, name: &str) -> Result<[usize; N], Error> {
        let Some(tensor) = self.find(name) else {
            return Err(invalid(format!("tensor {name} is missing")));
        };
        match tensor.shape().try_into() {
            Ok(sizes) if !tensor.shape().contains(&0) => Ok(sizes),
            _ => {
                let found = tensor.shape();
                Err(invalid(format!("tensor {name} has shape {found:?}, expected {N} sides, none of them 0")))
            }
        }
    }

    /// The numbers of tensor `name`, which must have the given shape and be finite.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let Some(tensor) = self.find(name) else {
            return Err(invalid(format!("tensor {name} is missing")));
        };
        if tensor.shape() != shape {
            let found = tensor.shape();
            return Err(invalid(format!("tensor {name} has shape {found:?}, expected {shape:?}")));
        }
        bounded(name, shape)?;
        finite_floats(tensor.dtype(), tensor.data())
            .map_err(|reason| invalid(format!("tensor {name} {reason}")))
    }

    /// A convolution's weights and biases: tensors `layer.weight` of the given shape, the first
    /// entry of which is the number of outputs, and `layer.bias`.
    pub(super) fn layer(&self, layer: &str, shape: [usize; 4]) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let weights = self.read(&format!("{layer}.weight"), &shape)?;
        let bias = self.read(&format!("{layer}.bias"), &shape[..1])?;
        Ok((weights, bias))
    }
}

impl TensorSource for &Weights<'_> {
    fn has(&self, name: &str) -> bool {
        Weights::has(self, name)
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        Weights::read(self, name, shape)
    }
}

/// Refuses tensors too large for any network supported.
pub(super) fn bounded(name: &str, shape: &[usize]) -> Result<(), Error> {
    match shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side)) {
        Some(numbers) if numbers <= MOST_NUMBERS => Ok(()),
        _ => Err(invalid(format!("tensor {name} of shape {shape:?} is larger than {MOST_NUMBERS} numbers"))),
    }
}

pub(super) fn invalid(reason: String) -> Error {
    Error::ImageWeights { reason }
}
