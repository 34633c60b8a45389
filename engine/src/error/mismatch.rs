//! Why a model cannot serve a collection.

use crate::{Modality, ModelId};

/// Why a model does not fit a collection.
///
/// ```
/// use twinbit::{CodeBits, Database, Error, Mismatch, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let things = database.create_collection("things", Schema::new(CodeBits::B32).image_features(2).text_features(2))?;
/// let mut writer = things.writer()?;
/// for number in 0..32_u8 {
///     let side = f32::from(number % 2);
///     writer.put(Record::auto().image([side, 1.0]).text([1.0, side]))?;
/// }
/// writer.commit()?;
/// let model = things.trainer().hidden(8).batch(16).epochs(1).fit(&things.snapshot()?)?.model;
///
/// let wider = database.create_collection("wider", Schema::new(CodeBits::B32).image_features(3).text_features(2))?;
/// let error = wider.install(&model).unwrap_err();
/// assert!(matches!(error, Error::ModelMismatch { reason: Mismatch::Width { expected: 3, got: 2, .. } }), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The code lengths differ.
    #[error("it makes codes of {got} bits, the collection holds {expected}")]
    Bits {
        /// Bits of the collection.
        expected: usize,
        /// Bits of the model.
        got: usize,
    },
    /// The features a network reads have another width than the collection's.
    #[error("its {modality} network reads {got} values, the collection gives {expected}")]
    Width {
        /// The network concerned.
        modality: Modality,
        /// Width of the collection's features.
        expected: usize,
        /// Width the network was trained for.
        got: usize,
    },
    /// The model was trained on features made in another way.
    #[error("its {modality} features come from \"{got}\", the collection's from \"{expected}\"")]
    Featurizer {
        /// The modality concerned.
        modality: Modality,
        /// Featurizer of the collection; "none" when features come in.
        expected: String,
        /// Featurizer of the model.
        got: String,
    },
    /// Codes made by one model were compared with those of another.
    #[error("the codes given come from model {got}, the collection's from {expected}")]
    Codes {
        /// Model of the collection.
        expected: ModelId,
        /// Model that made the codes given.
        got: ModelId,
    },
}
