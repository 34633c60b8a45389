//! Installing a model: does it fit, and the codes of everything stored.

use std::ops::ControlFlow;

use half::f16;
use rayon::prelude::*;
use twinbit_kernels::CodesBuf;
use twinbit_storage::{CollectionView, Part};

use crate::collection::Collection;
use crate::encode::{Kept, encode_rows};
use crate::featurizers::Featurizers;
use crate::{Error, Mismatch, Modality, Model, Result, Schema, TextEncoding, TextKind};

/// Rows encoded at once; a multiple of every block of the code layout, so that blocks are appended
/// without moving bits.
const ROWS_A_BLOCK: u32 = 1024;

pub(crate) fn install(
    collection: &Collection,
    model: &Model,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<()> {
    let view = collection.view()?;
    let schema = collection.shared_schema(&view)?;
    let name = view.info().name.clone();
    check_installable(&schema, &view)?;
    check_fit(&schema, model)?;
    let database = collection.database();
    let bytes = model.to_bytes();
    let encoding = Encoding { model, featurizers: &Featurizers::new(database, &schema), collection: &name };
    let mut encode = |part: &Part| {
        database
            .run(|| {
                let of = |modality| encoding.part_codes(part, modality);
                Ok::<_, Error>([of(Modality::Image)?, of(Modality::Text)?])
            })
            .map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>)
    };
    let id = twinbit_storage::ModelId(*model.id().as_bytes());
    database.store().install_model(collection.id(), id, &bytes, &mut encode, progress)?;
    database.remember_model(model);
    Ok(())
}

/// Whether a collection can take any other model than the one it has.
pub(crate) fn check_installable(schema: &Schema, view: &CollectionView) -> Result<()> {
    let name = || view.info().name.clone();
    if schema.has_external_codes() {
        return Err(Error::ExternalCodes { collection: name() });
    }
    match schema.keeps_inputs() || view.is_empty() {
        true => Ok(()),
        false => Err(not_kept(name())),
    }
}

fn not_kept(collection: String) -> Error {
    let consequence =
        "its records cannot be encoded by another model; create a new collection and ingest them again";
    Error::InputsNotKept { collection, consequence }
}

/// Whether a model can encode what a collection holds.
pub(crate) fn check_fit(schema: &Schema, model: &Model) -> Result<()> {
    let spec = model.spec();
    let mismatch = |reason| Err(Error::ModelMismatch { reason });
    if spec.bits != schema.bits() {
        return mismatch(Mismatch::Bits { expected: schema.bits().bits(), got: spec.bits.bits() });
    }
    for modality in Modality::ALL {
        // A featurizer fitted in training decides the width by itself.
        if let Some(expected) = schema.width(modality)
            && expected != spec.width(modality)
        {
            return mismatch(Mismatch::Width { modality, expected, got: spec.width(modality) });
        }
    }
    let featurizer = |modality, expected: &str, got: &str| {
        let (expected, got) = (expected.to_owned(), got.to_owned());
        mismatch(Mismatch::Featurizer { modality, expected, got })
    };
    let expected = schema.featurizer(Modality::Image);
    if spec.image_featurizer != expected {
        return featurizer(Modality::Image, expected, &spec.image_featurizer);
    }
    // A fitted featurizer is known by its kind: the model brings it along.
    let got = model.text_featurizer().map_or(&*spec.text_featurizer, |featurizer| featurizer.kind().name());
    match schema.text_kind() {
        TextKind::Text(encoding @ (TextEncoding::Ngram | TextEncoding::Bow)) if *got != encoding.name() => {
            featurizer(Modality::Text, &encoding.name(), got)
        }
        TextKind::Text(TextEncoding::Ngram | TextEncoding::Bow) => Ok(()),
        _ if got != schema.featurizer(Modality::Text) => {
            featurizer(Modality::Text, schema.featurizer(Modality::Text), got)
        }
        _ => Ok(()),
    }
}

/// What it takes to encode what a collection holds.
pub(crate) struct Encoding<'a> {
    pub(crate) model: &'a Model,
    pub(crate) featurizers: &'a Featurizers,
    /// Name of the collection.
    pub(crate) collection: &'a str,
}

impl Encoding<'_> {
    /// The codes of every row of a part under the model, zero where a row lacks the modality.
    pub(crate) fn part_codes(&self, part: &Part, modality: Modality) -> Result<CodesBuf> {
        let starts: Vec<u32> = (0..part.rows()).step_by(ROWS_A_BLOCK as usize).collect();
        let blocks: Vec<CodesBuf> = starts
            .into_par_iter()
            .map(|start| self.block_codes(part, modality, start))
            .collect::<Result<_>>()?;
        let mut codes = CodesBuf::new(self.model.spec().bits);
        for block in blocks {
            codes.append(block.as_codes())?;
        }
        Ok(codes)
    }

    fn block_codes(&self, part: &Part, modality: Modality, start: u32) -> Result<CodesBuf> {
        let present = part.present(modality);
        let rows: Vec<u32> = (start..part.rows().min(start.saturating_add(ROWS_A_BLOCK))).collect();
        let chosen: Vec<u32> = rows.iter().copied().filter(|&row| present.get(row as usize)).collect();
        let input = |&row: &u32| {
            stored_input(part, modality, row)?.ok_or_else(|| not_kept(self.collection.to_owned()))
        };
        let kept: Vec<Kept<'_>> = chosen.iter().map(input).collect::<Result<_>>()?;
        let encoded = encode_rows(self.model, self.featurizers, modality, &kept.iter().collect::<Vec<_>>())?;
        let mut codes = CodesBuf::new(self.model.spec().bits);
        let mut next = 0..encoded.rows();
        for row in rows {
            match present.get(row as usize).then(|| next.next()).flatten() {
                Some(encoded_row) => codes.push(&encoded.as_codes().row(encoded_row))?,
                None => codes.push_zero()?,
            }
        }
        Ok(codes)
    }
}

/// What is kept of one modality of a row.
pub(crate) fn stored_input(part: &Part, modality: Modality, row: u32) -> Result<Option<Kept<'_>>> {
    let features = |values: Option<Vec<f16>>| values.map(|values| Kept::Features(values.into()));
    Ok(match modality {
        Modality::Image => features(part.image_features(row)?),
        Modality::Text => match part.text(row)? {
            Some(text) => Some(Kept::Text(text.into())),
            None => features(part.text_features(row)?),
        },
    })
}
