//! Everything that training changes, in the form of the processor's trainer and in that of the card's.

use twinbit_kernels::cuda::train::{Layer as CardLayer, Optimizer, TrainingState as CardState};
use twinbit_kernels::{CodeBits, Modality};

use crate::Error;
use crate::bank::MemoryBank;
use crate::net::{Layer, Network};
use crate::optimizer::OptimizerState;
use crate::step::{StepSettings, TrainingState};

/// The state as the card takes it.
pub(super) fn to_card(state: &TrainingState<f32>, optimizer: Optimizer) -> Result<CardState, Error> {
    let network = |side| -> Result<Vec<CardLayer>, Error> {
        Ok(state.network(side).layers()?.into_iter().map(card_layer).collect())
    };
    let networks = [network(Modality::Image)?, network(Modality::Text)?];
    let mut card = CardState::before(optimizer, networks, state.bank().values().to_vec());
    card.updates = state.optimizer().updates().unsigned_abs();
    for (order, moments) in card.moments.iter_mut().enumerate() {
        let mut parameters = state.optimizer().moments().iter().map(|moments| &moments[order]);
        for layer in moments.iter_mut().flatten() {
            for values in [&mut layer.weight, &mut layer.bias] {
                if let Some(moment) = parameters.next() {
                    values.clone_from(moment);
                }
            }
        }
    }
    Ok(card)
}

/// The state as the processor's trainer has it.
pub(super) fn from_card(card: CardState, settings: StepSettings) -> Result<TrainingState<f32>, Error> {
    let bits = card.networks[0].last().map_or(0, |layer| layer.outputs);
    let bank = MemoryBank::new(CodeBits::new(bits)?, card.bank)?;
    let parameters = |moment: [Vec<CardLayer>; 2]| {
        moment.into_iter().flatten().flat_map(|layer| [layer.weight, layer.bias])
    };
    let [first, second] = card.moments.map(parameters);
    // Stochastic gradient descent has no second moments.
    let second = second.chain(std::iter::repeat_with(Vec::new));
    let moments = first.zip(second).map(|(first, second)| [first, second]).collect();
    let updates = i32::try_from(card.updates).unwrap_or(i32::MAX);
    let optimizer = OptimizerState::restored(settings.optimizer, updates, moments);
    let [image, text] = card.networks;
    TrainingState::restored(settings, [network(image)?, network(text)?], bank, optimizer)
}

/// A network in this memory.
pub(super) fn network(layers: Vec<CardLayer>) -> Result<Network<f32>, Error> {
    let layer = |CardLayer { inputs, outputs, weight, bias }| Layer { inputs, outputs, weight, bias };
    Network::new(layers.into_iter().map(layer).collect())
}

/// A layer as the card takes it.
pub(super) fn card_layer(Layer { inputs, outputs, weight, bias }: Layer<f32>) -> CardLayer {
    CardLayer { inputs, outputs, weight, bias }
}
