//! The trained model: features in, codes out.

use std::fmt;
use std::sync::Arc;

use half::f16;
use twinbit_kernels::{CodesBuf, Modality};

use crate::Error;
use crate::blob::{self, Contents};
use crate::encoder::Encoder;
use crate::id::ModelId;
use crate::in_place::read;
use crate::net::{Layer, Network, parameter_name};
use crate::record::TrainingRecord;
use crate::source::rows as rows_of;
use crate::spec::ModelSpec;
use crate::text::TextFeaturizer;

/// Two trained networks: immutable, cheap to clone, usable from any thread.
///
/// Weights are float16, which training rounds them to before it gives a model away, so that a model
/// encodes alike before and after it was stored. Arithmetic is float32.
#[derive(Clone)]
pub struct HashModel {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    contents: Contents,
    id: ModelId,
    encoders: [Encoder; 2],
}

impl HashModel {
    /// Rounds the weights to float16 and makes a model of them.
    pub(crate) fn new(
        spec: ModelSpec,
        [image, text]: [&Network<f32>; 2],
        text_featurizer: Option<TextFeaturizer>,
    ) -> Result<Self, Error> {
        let networks = [round(image, Modality::Image)?, round(text, Modality::Text)?];
        Self::assemble(Contents { spec, networks, text_featurizer, training: None })
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Model`] says what is wrong with a damaged or foreign file; [`Error::ModelVersion`]
    /// when a newer program wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::assemble(blob::read(bytes)?)
    }

    /// The model file: safetensors with float16 weights and the specification in its metadata. The
    /// same model gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        blob::write(&self.inner.contents)
    }

    /// The hash of its contents.
    pub fn id(&self) -> ModelId {
        self.inner.id
    }

    /// What it is made for.
    pub fn spec(&self) -> &ModelSpec {
        &self.inner.contents.spec
    }

    /// The fitted text featurizer that the model was trained with, when text goes in as text.
    pub fn text_featurizer(&self) -> Option<&TextFeaturizer> {
        self.inner.contents.text_featurizer.as_ref()
    }

    /// The training that it is from; `None` for a model that was not trained to its end.
    pub fn training(&self) -> Option<&TrainingRecord> {
        self.inner.contents.training.as_ref()
    }

    /// The codes of feature rows: sgn(h), with sgn(0) = +1 (eq. 1).
    ///
    /// `rows` is row-major, as wide as the specification says. A row's code depends on that row
    /// alone, not on its neighbors or on the number of threads. Work is spread over the current
    /// rayon pool.
    ///
    /// # Errors
    /// [`Error::Width`] when the rows are not of that width, [`Error::NotFinite`] naming a row that
    /// holds a NaN or an infinity or is too large to compute with.
    pub fn encode(&self, modality: Modality, rows: &[f32]) -> Result<CodesBuf, Error> {
        let encoder = &self.inner.encoders[modality.index()];
        rows_of(modality, rows, encoder.inputs())?;
        let signs = encoder.signs(rows).map_err(|row| Error::NotFinite { modality, row })?;
        let bits = self.spec().bits;
        let mut codes = CodesBuf::new(bits);
        for code in signs.chunks_exact(bits.bytes()) {
            codes.push(code)?;
        }
        Ok(codes)
    }

    /// The continuous outputs h of feature rows, row-major, each of unit norm. (A row that the
    /// network maps to zero stays zero; its code is all ones.)
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn outputs(&self, modality: Modality, rows: &[f32]) -> Result<Vec<f32>, Error> {
        let encoder = &self.inner.encoders[modality.index()];
        rows_of(modality, rows, encoder.inputs())?;
        let outputs = encoder.outputs(rows);
        rows_of(modality, &outputs, self.spec().bits.bits())?;
        Ok(outputs)
    }

    /// The layers of one network.
    pub(crate) fn network(&self, modality: Modality) -> &[Layer<f16>] {
        &self.inner.contents.networks[modality.index()]
    }

    /// The same model with the record of its training, which changes its id.
    pub(crate) fn trained(self, record: TrainingRecord) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.inner);
        inner.contents.training = Some(record);
        inner.id = blob::content_id(&inner.contents);
        Self { inner: Arc::new(inner) }
    }

    fn assemble(contents: Contents) -> Result<Self, Error> {
        let id = blob::content_id(&contents);
        let encoders = [Encoder::new(&contents.networks[0]), Encoder::new(&contents.networks[1])];
        Ok(Self { inner: Arc::new(Inner { contents, id, encoders }) })
    }
}

impl fmt::Debug for HashModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HashModel")
            .field("id", &self.id())
            .field("spec", self.spec())
            .finish_non_exhaustive()
    }
}

/// The layers of a network with every weight rounded to float16.
fn round(network: &Network<f32>, modality: Modality) -> Result<Vec<Layer<f16>>, Error> {
    let rounded = |index: usize, values: &[f32]| {
        let rounded: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
        match rounded.iter().all(|value| value.is_finite()) {
            true => Ok(rounded),
            false => Err(Error::WeightOverflow { tensor: parameter_name(modality, index) }),
        }
    };
    let layer = |(index, layer): (usize, &crate::net::Linear)| {
        let (outputs, inputs) = layer.weight.dims2()?;
        Ok(Layer {
            inputs,
            outputs,
            weight: read(&layer.weight, |values: &[f32]| rounded(2 * index, values))??,
            bias: read(&layer.bias, |values: &[f32]| rounded(2 * index + 1, values))??,
        })
    };
    network.layers.iter().enumerate().map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream, unit};
    use twinbit_kernels::CodeBits;

    fn spec() -> ModelSpec {
        ModelSpec {
            bits: CodeBits::B32,
            image_width: 50,
            text_width: 7,
            hidden: 40,
            image_layers: 3,
            text_layers: 1,
            image_featurizer: "none".into(),
            text_featurizer: "none".into(),
        }
    }

    fn networks(spec: &ModelSpec) -> [Network<f32>; 2] {
        Modality::ALL.map(|modality| {
            let mut generator = stream(11, Purpose::ImageWeights, modality.index() as u64);
            Network::initialize(&spec.shapes(modality), &mut generator).unwrap()
        })
    }

    fn model() -> HashModel {
        let [image, text] = networks(&spec());
        HashModel::new(spec(), [&image, &text], None).unwrap()
    }

    fn features(rows: usize) -> Vec<f32> {
        let mut generator = stream(12, Purpose::Bank, 0);
        (0..rows * 50).map(|_| unit(&mut generator) as f32 - 0.5).collect()
    }

    #[test]
    fn codes_are_the_signs_of_the_outputs() {
        let (model, rows) = (model(), features(150));
        let outputs = model.outputs(Modality::Image, &rows).unwrap();
        let expected = twinbit_kernels::pack_signs(&outputs, spec().bits).unwrap();
        assert_eq!(model.encode(Modality::Image, &rows).unwrap(), expected);
    }

    #[test]
    fn a_model_survives_its_bytes() {
        let model = model();
        let bytes = model.to_bytes();
        assert_eq!(bytes, model.to_bytes());
        let again = HashModel::from_bytes(&bytes).unwrap();
        assert_eq!(again.id(), model.id());
        assert_eq!(again.spec(), model.spec());
        assert_eq!(again.to_bytes(), bytes);
        let rows = features(3);
        let codes = |model: &HashModel| model.encode(Modality::Image, &rows).unwrap();
        assert_eq!(codes(&model), codes(&again));
    }

    #[test]
    fn a_code_depends_on_its_row_alone() {
        let model = model();
        let rows = features(131);
        let all = model.outputs(Modality::Image, &rows).unwrap();
        for row in [0, 1, 6, 7, 55, 56, 130] {
            let alone = model.outputs(Modality::Image, &rows[row * 50..][..50]).unwrap();
            assert_eq!(alone, all[row * 32..][..32], "row {row}");
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| model.outputs(Modality::Image, &rows).unwrap()), all);
    }

    #[test]
    fn encoding_computes_what_training_does() {
        let [image, _] = networks(&spec());
        let rows = features(9);
        let trained = image.forward(rows.clone()).unwrap().outputs;
        let encoded = model().outputs(Modality::Image, &rows).unwrap();
        for (trained, encoded) in trained.iter().zip(&encoded) {
            // Weights are rounded to float16 in between.
            assert!((trained - encoded).abs() < 2e-3, "{trained} {encoded}");
        }
    }

    #[test]
    fn bad_rows_are_named() {
        let model = model();
        let mut rows = features(70);
        rows[66 * 50 + 3] = f32::NAN;
        let encode = |rows: &[f32]| model.encode(Modality::Image, rows);
        assert!(matches!(encode(&rows), Err(Error::NotFinite { row: 66, .. })));
        assert!(matches!(encode(&rows[..49]), Err(Error::Width { expected: 50, got: 49, .. })));
        assert_eq!(encode(&[]).unwrap().rows(), 0);
    }

    #[test]
    fn a_row_too_large_to_compute_with_is_named() {
        let model = model();
        let mut rows = features(2);
        rows[50..].fill(f32::MAX);
        match model.outputs(Modality::Image, &rows) {
            Err(Error::NotFinite { row, .. }) => assert_eq!(row, 1),
            Ok(outputs) => assert!(outputs.iter().all(|value| value.is_finite())),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn weights_beyond_float16_are_an_error() {
        let [image, text] = networks(&spec());
        let mut layers = text.layers().unwrap();
        layers[0].bias[3] = 70_000.0;
        let text = Network::new(layers).unwrap();
        let model = HashModel::new(spec(), [&image, &text], None);
        assert!(matches!(model, Err(Error::WeightOverflow { tensor }) if tensor == "text.layers.0.bias"));
    }
}
