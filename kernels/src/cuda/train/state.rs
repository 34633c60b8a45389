//! Everything that training changes, as plain numbers.

use super::layer::check;
use super::{Layer, Optimizer};
use crate::{CodeBits, Error};

/// Both networks, the optimizer's moments and the memory bank.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingState {
    /// The networks, image then text.
    pub networks: [Vec<Layer>; 2],
    /// Adam's first and second moments in the networks' shapes; for stochastic gradient descent the
    /// running gradient, and no layers in the second place.
    pub moments: [[Vec<Layer>; 2]; 2],
    /// Updates so far.
    pub updates: u32,
    /// The memory bank, row-major (pairs, bits).
    pub bank: Vec<f32>,
}

impl TrainingState {
    /// The state before the first step with Adam.
    #[must_use]
    pub fn new(networks: [Vec<Layer>; 2], bank: Vec<f32>) -> Self {
        Self::before(Optimizer::Adam, networks, bank)
    }

    /// The state before the first step with an optimizer.
    #[must_use]
    pub fn before(optimizer: Optimizer, networks: [Vec<Layer>; 2], bank: Vec<f32>) -> Self {
        let zeros = || networks.each_ref().map(|layers| layers.iter().map(Layer::zeros).collect());
        let second = match optimizer {
            Optimizer::Adam => zeros(),
            Optimizer::Sgd => [Vec::new(), Vec::new()],
        };
        Self { moments: [zeros(), second], networks, updates: 0, bank }
    }

    /// The length of a code, when everything fits together and the moments are the optimizer's.
    pub(crate) fn check(&self, optimizer: Optimizer) -> Result<CodeBits, Error> {
        let [image, text] = &self.networks;
        check(image)?;
        check(text)?;
        let bits = |layers: &[Layer]| layers.last().map_or(0, |layer| layer.outputs);
        let length = CodeBits::new(bits(image))?;
        let same = |what, expected, got| {
            if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
        };
        same("outputs of the text network", bits(image), bits(text))?;
        let rows = self.bank.len() / bits(image);
        same("values of the memory bank, whole rows", rows * bits(image), self.bank.len())?;
        let [first, second] = &self.moments;
        let moments: &[_] = match optimizer {
            Optimizer::Adam => &[first, second],
            Optimizer::Sgd => {
                let layers = second.iter().map(Vec::len).sum();
                same("layers of a second moment, which only Adam has", 0, layers)?;
                &[first]
            }
        };
        for (moments, layers) in moments.iter().flat_map(|moments| moments.iter().zip(&self.networks)) {
            same("layers of a moment", layers.len(), moments.len())?;
            for (moment, layer) in moments.iter().zip(layers) {
                same("inputs of a moment's layer", layer.inputs, moment.inputs)?;
                same("weights of a moment", layer.weight.len(), moment.weight.len())?;
                same("biases of a moment", layer.bias.len(), moment.bias.len())?;
            }
        }
        Ok(length)
    }
}
