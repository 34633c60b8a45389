//! The codes that are measured: those stored, or those that another model gives what is stored.

use twinbit_kernels::{Codes, CodesBuf};

use crate::encode::Encoder;
use crate::featurizers::Featurizers;
use crate::install::{Encoding, check_fit};
use crate::snapshot::Snapshot;
use crate::{Error, Modality, Model, Result};

/// A snapshot under its own model or another.
#[derive(Clone, Copy)]
pub(crate) struct Judged<'a> {
    snapshot: &'a Snapshot,
    model: Option<&'a Model>,
}

/// The codes of a part.
pub(crate) enum PartCodes<'a> {
    Stored(Codes<'a>),
    Encoded(CodesBuf),
}

impl PartCodes<'_> {
    pub(crate) fn as_codes(&self) -> Codes<'_> {
        match self {
            Self::Stored(codes) => *codes,
            Self::Encoded(codes) => codes.as_codes(),
        }
    }
}

impl<'a> Judged<'a> {
    /// By the codes that are stored.
    pub(crate) fn stored(snapshot: &'a Snapshot) -> Result<Self> {
        snapshot.require_codes()?;
        Ok(Self { snapshot, model: None })
    }

    /// By the codes that a model gives the inputs that are kept.
    pub(crate) fn under(snapshot: &'a Snapshot, model: &'a Model) -> Result<Self> {
        let schema = snapshot.schema();
        if schema.has_external_codes() {
            return Err(Error::ExternalCodes { collection: snapshot.name().to_owned() });
        }
        check_fit(schema, model)?;
        Ok(Self { snapshot, model: Some(model) })
    }

    pub(crate) fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// What encodes queries alike.
    pub(crate) fn encoder(&self) -> Result<Encoder> {
        let encoder = self.snapshot.encoder()?;
        Ok(match self.model {
            Some(model) => encoder.with_model(model),
            None => encoder,
        })
    }

    /// The codes of each part; `None` where a part has none of that modality.
    pub(crate) fn codes(&self, modality: Modality) -> Result<Vec<Option<PartCodes<'a>>>> {
        let featurizers = Featurizers::new(self.snapshot.database(), self.snapshot.shared_schema());
        let of = |part: &'a twinbit_storage::Part| match self.model {
            Some(model) => {
                let encoding =
                    Encoding { model, featurizers: &featurizers, collection: self.snapshot.name() };
                Ok(Some(PartCodes::Encoded(encoding.part_codes(part, modality)?)))
            }
            None => Ok(part.codes(modality).map(PartCodes::Stored)),
        };
        self.snapshot.parts().iter().map(|part| of(part)).collect()
    }
}
