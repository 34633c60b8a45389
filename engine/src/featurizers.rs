//! What makes the pictures and texts of a collection into features.

use std::sync::{Arc, OnceLock};

use twinbit_hashing::{ImageEncoder, TextTower};

use crate::accelerator::Accelerator;
use crate::database::Database;
use crate::encoder_folder::{read_image, read_text};
use crate::schema::KnownEncoder;
use crate::text_encoder::TextEncoder;
use crate::{
    EncoderError, Error, ImageEncoding, ImageKind, Modality, Model, Result, Schema, TextEncoding, TextKind,
};

/// The encoders of one collection, had when they are first needed. A failure stays: whoever encodes many
/// records need not look for a missing folder as many times.
pub(crate) struct Featurizers {
    database: Database,
    schema: Arc<Schema>,
    image: OnceLock<Result<ImageEncoder, EncoderError>>,
    text: OnceLock<Result<TextTower, EncoderError>>,
}

impl Featurizers {
    pub(crate) fn new(database: &Database, schema: &Arc<Schema>) -> Self {
        let (database, schema) = (database.clone(), Arc::clone(schema));
        Self { database, schema, image: OnceLock::new(), text: OnceLock::new() }
    }

    /// What the database computes on.
    pub(crate) fn accelerator(&self) -> &Accelerator {
        self.database.accelerator()
    }

    /// The encoder of pictures that made the kept features.
    pub(crate) fn image(&self, encoding: &ImageEncoding) -> Result<ImageEncoder> {
        let ImageEncoding::Folder(_) = encoding else {
            let encoder = efficientnet_lite0()?;
            return match encoder.id() == self.schema.featurizer(Modality::Image) {
                true => Ok(encoder),
                false => Err(Error::EncoderChanged {
                    expected: self.schema.featurizer(Modality::Image).to_owned(),
                    got: encoder.id().to_owned(),
                }),
            };
        };
        let find = || {
            let folder = self.database.encoder_folder(&self.schema, Modality::Image);
            let encoder = self.database.encoder_folders().image(folder)?;
            self.check(Modality::Image, folder, encoder.id())?;
            Ok(encoder)
        };
        Ok(self.image.get_or_init(find).clone()?)
    }

    /// The encoder of texts under a model.
    pub(crate) fn texts(&self, model: &Model) -> Result<TextEncoder> {
        match (self.schema.text_kind(), model.text_featurizer()) {
            (TextKind::Text(TextEncoding::Folder(_)), _) => Ok(TextEncoder::Tower(self.tower()?)),
            (_, Some(featurizer)) => Ok(TextEncoder::Fitted(featurizer.clone())),
            (_, None) => Err(Error::Training { reason: "texts need a fitted text encoder" }),
        }
    }

    /// The text tower of the collection.
    pub(crate) fn tower(&self) -> Result<TextTower> {
        let find = || {
            let folder = self.database.encoder_folder(&self.schema, Modality::Text);
            let tower = self.database.encoder_folders().text(folder)?;
            self.check(Modality::Text, folder, tower.id())?;
            Ok(tower)
        };
        Ok(self.text.get_or_init(find).clone()?)
    }

    fn check(&self, modality: Modality, folder: &std::path::Path, got: &str) -> Result<(), EncoderError> {
        check_id(modality, folder, self.schema.featurizer(modality), got)
    }
}

/// Whether a folder holds the encoder that a collection knows.
pub(crate) fn check_id(
    modality: Modality,
    folder: &std::path::Path,
    expected: &str,
    got: &str,
) -> Result<(), EncoderError> {
    if got == expected {
        return Ok(());
    }
    let (folder, expected, got) = (folder.to_path_buf(), expected.to_owned(), got.to_owned());
    Err(EncoderError::Changed { modality, folder, expected, got })
}

/// The schema of a new collection with what its encoders say of themselves, and with whole paths.
pub(crate) fn described(schema: Schema) -> Result<Schema> {
    let schema = Modality::ALL.into_iter().try_fold(schema, |schema, modality| {
        let Some(folder) = schema.folder(modality) else { return Ok(schema) };
        let whole = std::path::absolute(folder).map_err(|source| Error::Io {
            path: folder.to_path_buf(),
            operation: "find",
            source,
        })?;
        let encoder = known(modality, &whole)?;
        Ok::<_, Error>(schema.with_folder(modality, whole).with_encoder(modality, encoder))
    })?;
    match schema.image_kind() {
        ImageKind::Pictures(ImageEncoding::EfficientNetLite0) => {
            let encoder = efficientnet_lite0()?;
            let known = KnownEncoder { id: encoder.id().to_owned(), width: encoder.width() };
            Ok(schema.with_encoder(Modality::Image, known))
        }
        _ => Ok(schema),
    }
}

/// What the encoder in a folder says of itself; read anew, whatever is in memory.
pub(crate) fn known(modality: Modality, folder: &std::path::Path) -> Result<KnownEncoder, EncoderError> {
    Ok(match modality {
        Modality::Image => {
            let encoder = read_image(folder)?;
            KnownEncoder { id: encoder.id().to_owned(), width: encoder.width() }
        }
        Modality::Text => {
            let tower = read_text(folder)?;
            KnownEncoder { id: tower.id().to_owned(), width: tower.width() }
        }
    })
}

/// The encoder that comes with the program.
#[cfg(feature = "efficientnet-lite0")]
pub(crate) fn efficientnet_lite0() -> Result<ImageEncoder> {
    Ok(ImageEncoder::efficientnet_lite0()?)
}

#[cfg(not(feature = "efficientnet-lite0"))]
pub(crate) fn efficientnet_lite0() -> Result<ImageEncoder> {
    Err(Error::MissingFeature { feature: "efficientnet-lite0" })
}
