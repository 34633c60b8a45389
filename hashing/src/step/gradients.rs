//! The losses of a batch and their gradients, both ways.

use candle_core::{Device, Tensor, Var};
use twinbit_kernels::Modality;

use super::{Keys, Losses, TrainingState};
use crate::Error;
use crate::config::RankingInput;
use crate::in_place::read;
use crate::keys::{BatchKeys, StepKeys};
use crate::loss::ranking;
use crate::loss::signs::{signs, straight_through};
use crate::loss::{Differentiated, contrastive};
use crate::real::Real;

/// What a forward and a backward pass give.
pub(super) struct Gradients<T> {
    pub(super) losses: Losses,
    pub(super) outputs: [Vec<T>; 2],
    /// For each network: weight, bias, layer by layer.
    pub(super) parameters: [Vec<Tensor>; 2],
    /// Of the image features, where asked for.
    pub(super) image: Option<Vec<T>>,
}

impl<T: Real> TrainingState<T> {
    /// With `to_image`, gives the gradient of the image features, too.
    pub(super) fn fused(
        &self,
        image: Vec<T>,
        text: Vec<T>,
        keys: Keys<'_>,
        to_image: bool,
    ) -> Result<Gradients<T>, Error> {
        let bits = self.bits();
        let [image_dropout, text_dropout] = self.dropouts();
        let activations = [
            self.networks[0].forward_with(image, image_dropout)?,
            self.networks[1].forward_with(text, text_dropout)?,
        ];
        for (modality, activations) in Modality::ALL.into_iter().zip(&activations) {
            if let Some(row) = activations.zero_row() {
                return Err(Error::ZeroNorm { modality, row });
            }
        }
        let outputs = [&activations[0].outputs[..], &activations[1].outputs[..]];
        let alpha = self.settings.alpha;
        let contrastive = (alpha > 0.0).then(|| {
            let targets = self.settings.targets(keys);
            let batch_keys = BatchKeys::new(outputs, bits);
            let keys = StepKeys::new(self.settings.keys, keys, &self.bank, &batch_keys);
            keys.fused(outputs, bits, &targets, self.settings.temperature)
        });
        let ranking = (alpha < 1.0).then(|| self.ranking(outputs));
        let (losses, [image, text]) = self.combine(contrastive, ranking.transpose()?);
        let (image_parameters, image) = if to_image {
            let (parameters, features) = self.networks[0].backward_to_input(&activations[0], &image)?;
            let mut features: Vec<T> = features.flatten_all()?.to_vec1()?;
            if let Some(dropout) = image_dropout {
                dropout.apply(0, &mut features);
            }
            (parameters, Some(features))
        } else {
            (self.networks[0].backward(&activations[0], &image)?, None)
        };
        let parameters = [image_parameters, self.networks[1].backward(&activations[1], &text)?];
        let outputs = activations.map(|activations| activations.outputs);
        Ok(Gradients { losses, outputs, parameters, image })
    }

    /// The ranking loss and its gradient with respect to the outputs.
    fn ranking(&self, outputs: [&[T]; 2]) -> Result<Differentiated<T>, Error> {
        let bits = self.bits();
        let of_outputs = || ranking::fused(outputs, bits, self.settings.ranking());
        let of_signs = || {
            let [image, text] = outputs.map(|outputs| signs(outputs, bits));
            ranking::fused([&image, &text], bits, self.settings.ranking())
        };
        match self.settings.ranking_input {
            RankingInput::Outputs => of_outputs(),
            RankingInput::Signs => of_signs(),
            RankingInput::Both => Ok(of_outputs()?.mean(&of_signs()?)),
        }
    }

    /// The same loss in candle operations.
    fn ranking_of_tensors(&self, outputs: [&Tensor; 2]) -> Result<Tensor, Error> {
        let of_outputs = || ranking::autodiff(outputs, self.settings.ranking());
        let of_signs = || {
            let (image, text) = (straight_through(outputs[0])?, straight_through(outputs[1])?);
            ranking::autodiff([&image, &text], self.settings.ranking())
        };
        Ok(match self.settings.ranking_input {
            RankingInput::Outputs => of_outputs()?,
            RankingInput::Signs => of_signs()?,
            RankingInput::Both => ((of_outputs()? + of_signs()?)? * 0.5)?,
        })
    }

    /// alpha times the one loss and its gradient plus (1 - alpha) times the other's. A loss that is
    /// left out has the weight 0.
    fn combine(
        &self,
        contrastive: Option<Differentiated<T>>,
        ranking: Option<Differentiated<T>>,
    ) -> (Losses, [Vec<T>; 2]) {
        let loss = |part: &Option<Differentiated<T>>| part.as_ref().map_or(0.0, |part| part.loss);
        let losses = self.losses(loss(&contrastive), loss(&ranking));
        let gradients = match (contrastive, ranking) {
            (Some(contrastive), Some(ranking)) => {
                let alpha = T::from_f64(self.settings.alpha);
                let beta = T::from_f64(1.0 - self.settings.alpha);
                let mut combined = contrastive.gradients;
                for (combined, ranking) in combined.iter_mut().zip(&ranking.gradients) {
                    for (combined, &ranking) in combined.iter_mut().zip(ranking) {
                        *combined = alpha * *combined + beta * ranking;
                    }
                }
                combined
            }
            (Some(only), None) | (None, Some(only)) => only.gradients,
            (None, None) => [Vec::new(), Vec::new()],
        };
        (losses, gradients)
    }

    fn losses(&self, contrastive: f64, ranking: f64) -> Losses {
        let alpha = self.settings.alpha;
        Losses { contrastive, ranking, total: alpha * contrastive + (1.0 - alpha) * ranking }
    }

    pub(super) fn autodiff(
        &self,
        image: Vec<T>,
        text: Vec<T>,
        keys: Keys<'_>,
    ) -> Result<Gradients<T>, Error> {
        let bits = self.bits();
        let mut variables: [Vec<Var>; 2] = [Vec::new(), Vec::new()];
        let mut outputs = Vec::with_capacity(2);
        for ((side, mut rows), dropout) in [image, text].into_iter().enumerate().zip(self.dropouts()) {
            if let Some(dropout) = dropout {
                dropout.apply(0, &mut rows);
            }
            let network = &self.networks[side];
            let count = rows.len() / network.inputs();
            let mut values = Tensor::from_vec(rows, (count, network.inputs()), &Device::Cpu)?;
            for (index, layer) in network.layers.iter().enumerate() {
                let weight = Var::from_tensor(&layer.weight)?;
                let bias = Var::from_tensor(&layer.bias)?;
                values = values.matmul(&weight.t()?)?.broadcast_add(&bias)?;
                if index + 1 < network.layers.len() {
                    values = values.relu()?;
                    if let Some(dropout) = dropout {
                        let mut mask = vec![T::one(); values.elem_count()];
                        dropout.apply(index + 1, &mut mask);
                        values = (&values * Tensor::from_vec(mask, values.shape(), &Device::Cpu)?)?;
                    }
                }
                variables[side].extend([weight, bias]);
            }
            let squashed = values.tanh()?;
            let norms = squashed.sqr()?.sum_keepdim(1)?.sqrt()?;
            outputs.push(squashed.broadcast_div(&norms)?);
        }
        let plain = [outputs[0].flatten_all()?.to_vec1()?, outputs[1].flatten_all()?.to_vec1()?];
        let targets = Tensor::new(self.settings.targets::<T>(keys), &Device::Cpu)?;
        let batch_keys = BatchKeys::new([&plain[0], &plain[1]], bits);
        let keys = StepKeys::new(self.settings.keys, keys, &self.bank, &batch_keys).unpack(bits)?;
        let sides = [&outputs[0], &outputs[1]];
        let contrastive = contrastive::autodiff(sides, &keys, &targets, self.settings.temperature)?;
        let ranking = self.ranking_of_tensors(sides)?;
        let alpha = self.settings.alpha;
        let total = ((&contrastive * alpha)? + (&ranking * (1.0 - alpha))?)?;
        let store = total.backward()?;
        let mut parameters = [Vec::new(), Vec::new()];
        for (gradients, variables) in parameters.iter_mut().zip(&variables) {
            for variable in variables {
                let gradient = match store.get(variable) {
                    Some(gradient) => gradient.contiguous()?,
                    None => variable.zeros_like()?,
                };
                gradients.push(gradient);
            }
        }
        let scalar = |loss: &Tensor| read(loss, |values: &[T]| values[0].to_f64());
        let losses = self.losses(scalar(&contrastive)?, scalar(&ranking)?);
        Ok(Gradients { losses, outputs: plain, parameters, image: None })
    }
}
