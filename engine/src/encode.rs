//! From inputs to codes: records and queries, checked and encoded in blocks.
//!
//! Features are rounded to 16-bit floats before they are encoded, because that is how they are
//! kept: encoding what was kept gives the same codes. Text is kept as text and made into features
//! each time.

use std::borrow::Cow;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use twinbit_hashing::{DecodeLimits, Picture};
use twinbit_kernels::CodesBuf;
use twinbit_storage::{CollectionView, FieldId, NewRecord, TextInput};

use crate::database::Database;
use crate::entry::Entry;
use crate::featurizers::Featurizers;
use crate::field::OF;
use crate::rerank;
use crate::{
    Error, IdKind, ImageKind, Input, Modality, Model, Place, Record, RecordId, Result, Schema, TextKind,
    Value,
};

/// What encodes the inputs of one collection under one model.
#[derive(Clone)]
pub(crate) struct Encoder {
    database: Database,
    schema: Arc<Schema>,
    collection: Arc<str>,
    model: Option<Model>,
    featurizers: Arc<Featurizers>,
}

/// One modality's input, checked, in the form it is kept.
#[derive(Debug, Clone)]
pub(crate) enum Kept<'a> {
    Features(Cow<'a, [f16]>),
    Text(Cow<'a, str>),
}

impl Kept<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Features(_) => None,
        }
    }
}

/// A record ready to be written.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) id: Option<RecordId>,
    image: Option<Kept<'a>>,
    text: Option<Kept<'a>>,
    codes: [Option<Cow<'a, [u8]>>; 2],
    fields: Vec<(FieldId, Value)>,
}

impl Prepared<'_> {
    pub(crate) fn as_new_record(&self) -> NewRecord<'_> {
        let [image_code, text_code] = &self.codes;
        NewRecord {
            id: self.id.clone(),
            image: match &self.image {
                Some(Kept::Features(values)) => Some(values),
                Some(Kept::Text(_)) | None => None,
            },
            text: self.text.as_ref().map(|text| match text {
                Kept::Features(values) => TextInput::Features(values),
                Kept::Text(text) => TextInput::Text(text),
            }),
            codes: [image_code.as_deref(), text_code.as_deref()],
            fields: self.fields.clone(),
        }
    }

    fn kept(&self, modality: Modality) -> Option<&Kept<'_>> {
        match modality {
            Modality::Image => self.image.as_ref(),
            Modality::Text => self.text.as_ref(),
        }
    }

    fn set_code(&mut self, modality: Modality, code: Vec<u8>) {
        let [image, text] = &mut self.codes;
        match modality {
            Modality::Image => *image = Some(Cow::Owned(code)),
            Modality::Text => *text = Some(Cow::Owned(code)),
        }
    }
}

impl Encoder {
    pub(crate) fn new(database: &Database, schema: Arc<Schema>, view: &CollectionView) -> Result<Self> {
        let (collection, model) = (view.info().name.as_str().into(), database.model(view)?);
        let featurizers = Arc::new(Featurizers::new(database, &schema));
        Ok(Self { database: database.clone(), schema, collection, model, featurizers })
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Id of the model, as storage names it.
    pub(crate) fn stored_model(&self) -> Option<twinbit_storage::ModelId> {
        self.model.as_ref().map(|model| twinbit_storage::ModelId(*model.id().as_bytes()))
    }

    /// Checks one record and encodes it.
    pub(crate) fn prepare_one<'a>(&self, record: &'a Record, position: u64) -> Result<Prepared<'a>> {
        let prepared = self.prepare(std::slice::from_ref(record), position).pop();
        prepared.unwrap_or_else(|| Err(Error::Empty { place: Place::Position(position) }))
    }

    /// Checks records and encodes those that are right, in parallel; one result a record, in order.
    /// Records without an id are named by their position, counted from `first`.
    pub(crate) fn prepare<'a>(&self, records: &'a [Record], first: u64) -> Vec<Result<Prepared<'a>>> {
        self.database.run(|| {
            let mut prepared: Vec<Result<Prepared<'a>>> = records
                .par_iter()
                .enumerate()
                .map(|(position, record)| self.check(record, first.saturating_add(position as u64)))
                .collect();
            if let Some(model) = &self.model {
                for modality in Modality::ALL {
                    self.add_codes(model, modality, &mut prepared);
                }
            }
            prepared
        })
    }

    fn check<'a>(&self, record: &'a Record, position: u64) -> Result<Prepared<'a>> {
        let place = || match &record.id {
            Some(id) => Place::Record(id.clone()),
            None => Place::Position(position),
        };
        match &record.id {
            Some(id) => self.check_id(id)?,
            None if self.schema.id_kind() == IdKind::Auto => {}
            None => {
                return Err(Error::MissingId { place: place(), ids: ids(self.schema.id_kind()) });
            }
        }
        let [image, text] = &record.inputs;
        let kept = |modality, input: &'a Option<Input>| {
            input.as_ref().map(|input| self.kept_of_record(modality, input, place)).transpose()
        };
        let [image_code, text_code] = &record.codes;
        let code = |modality, input: &Option<Input>, code: &'a Option<Vec<u8>>| {
            self.check_code(modality, input.is_some(), code.as_deref(), place)?;
            Ok::<_, Error>(code.as_deref().map(Cow::Borrowed))
        };
        if !self.schema.keeps_inputs() && self.model.is_none() && !self.schema.has_external_codes() {
            // What is not kept could never be encoded later.
            return Err(self.cannot_encode());
        }
        let prepared = Prepared {
            id: record.id.clone(),
            codes: [code(Modality::Image, image, image_code)?, code(Modality::Text, text, text_code)?],
            image: kept(Modality::Image, image)?,
            text: kept(Modality::Text, text)?,
            fields: self.fields(record)?,
        };
        let inputs = prepared.image.is_some() || prepared.text.is_some();
        if !inputs && prepared.codes.iter().all(Option::is_none) {
            return Err(Error::Empty { place: place() });
        }
        Ok(prepared)
    }

    fn check_id(&self, id: &RecordId) -> Result<()> {
        let fits = match (self.schema.id_kind(), id) {
            (IdKind::Auto | IdKind::U64, RecordId::U64(_)) => true,
            (IdKind::Str, RecordId::Str(id)) => (1..=1024).contains(&id.len()),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(Error::WrongId { id: id.clone(), ids: ids(self.schema.id_kind()) })
    }

    fn check_code(
        &self,
        modality: Modality,
        has_input: bool,
        code: Option<&[u8]>,
        place: impl Fn() -> Place,
    ) -> Result<()> {
        match code {
            Some(_) if !self.schema.has_external_codes() => {
                Err(Error::CodesNotTaken { place: place(), modality })
            }
            Some(code) => self.check_code_length(modality, code, place),
            None if has_input && self.schema.has_external_codes() => {
                Err(Error::MissingCode { place: place(), modality })
            }
            None => Ok(()),
        }
    }

    fn check_code_length(&self, modality: Modality, code: &[u8], place: impl Fn() -> Place) -> Result<()> {
        let expected = self.schema.bits().bytes();
        if code.len() == expected {
            return Ok(());
        }
        Err(Error::CodeLength { place: place(), modality, expected, got: code.len() })
    }

    /// Field ids and typed values; where a field is set twice, the later value counts.
    fn fields(&self, record: &Record) -> Result<Vec<(FieldId, Value)>> {
        let mut fields: Vec<(FieldId, Value)> = Vec::with_capacity(record.fields.len() + 1);
        if let Some(of) = &record.of {
            self.check_id(of)?;
            let of = match of {
                RecordId::U64(id) => Value::U64(*id),
                RecordId::Str(id) => Value::Str(id.clone()),
            };
            fields.push(self.schema.typed(OF, of)?);
        }
        for (name, value) in &record.fields {
            let (id, value) = self.schema.typed(name, value.clone())?;
            fields.retain(|(other, _)| *other != id);
            fields.push((id, value));
        }
        Ok(fields)
    }

    /// [`kept`](Self::kept) for an input that is to be stored: text is stored as text, for all that queries
    /// may bring the features of a pretrained encoder.
    fn kept_of_record<'a>(
        &self,
        modality: Modality,
        input: &'a Input,
        place: impl Fn() -> Place,
    ) -> Result<Kept<'a>> {
        match (modality, input, self.schema.text_kind()) {
            (Modality::Text, Input::Features(_), TextKind::Text(_)) => {
                Err(self.wrong_input(modality, input, place))
            }
            _ => self.kept(modality, input, place),
        }
    }

    /// Checks an input and brings it into the form in which it is kept.
    fn kept<'a>(&self, modality: Modality, input: &'a Input, place: impl Fn() -> Place) -> Result<Kept<'a>> {
        match (modality, input) {
            (_, Input::Features(values)) if self.schema.width(modality).is_some() => {
                self.rounded(modality, values, place)
            }
            (Modality::Image, Input::Picture(bytes)) => {
                let decode = || Ok(Cow::Owned(Picture::decode(bytes, &DecodeLimits::default())?));
                self.kept_of_picture(input, decode, place)
            }
            (Modality::Image, Input::Pixels(picture)) => {
                self.kept_of_picture(input, || Ok(Cow::Borrowed(picture)), place)
            }
            (Modality::Text, Input::Text(text)) if matches!(self.schema.text_kind(), TextKind::Text(_)) => {
                Ok(Kept::Text(Cow::Borrowed(text)))
            }
            _ => Err(self.wrong_input(modality, input, place)),
        }
    }

    /// The features of a picture, where the collection takes pictures.
    fn kept_of_picture<'a>(
        &self,
        input: &Input,
        picture: impl FnOnce() -> Result<Cow<'a, Picture>, twinbit_hashing::Error>,
        place: impl Fn() -> Place,
    ) -> Result<Kept<'static>> {
        let ImageKind::Pictures(encoding) = self.schema.image_kind() else {
            return Err(self.wrong_input(Modality::Image, input, place));
        };
        let encoder = self.featurizers.image(encoding)?;
        let values = picture().and_then(|picture| encoder.encode(std::slice::from_ref(&*picture)));
        let values = values.map_err(|source| Error::Picture { place: place(), source: source.into() })?;
        self.rounded(Modality::Image, &values, place)
    }

    fn wrong_input(&self, modality: Modality, input: &Input, place: impl Fn() -> Place) -> Error {
        Error::WrongInput {
            place: place(),
            modality,
            expected: self.schema.expects(modality),
            got: input.noun(),
        }
    }

    fn rounded(
        &self,
        modality: Modality,
        values: &[f32],
        place: impl Fn() -> Place,
    ) -> Result<Kept<'static>> {
        let expected = self.schema.width(modality).unwrap_or(0);
        if values.len() != expected {
            return Err(Error::Width { place: place(), modality, expected, got: values.len() });
        }
        let mut rounded = vec![f16::ZERO; values.len()];
        rounded.convert_from_f32_slice(values);
        // Looked at without leaving early, which goes many values at a time.
        if rounded.iter().fold(true, |finite, value| finite & value.is_finite()) {
            return Ok(Kept::Features(rounded.into()));
        }
        let column = rounded.iter().position(|value| !value.is_finite()).unwrap_or(0);
        let value = values.get(column).copied().unwrap_or(f32::NAN);
        Err(match value.is_finite() {
            true => Error::Overflow { place: place(), modality, column, value },
            false => Error::NotFinite { place: place(), modality, column },
        })
    }

    /// Encodes one modality of all records that have it.
    fn add_codes(&self, model: &Model, modality: Modality, prepared: &mut [Result<Prepared<'_>>]) {
        let rows: Vec<&Kept<'_>> =
            prepared.iter().flatten().filter_map(|record| record.kept(modality)).collect();
        let together = encode_rows(model, &self.featurizers, modality, &rows);
        let mut row = 0;
        for slot in prepared {
            let Ok(record) = slot else { continue };
            let Some(kept) = record.kept(modality) else { continue };
            // When the rows cannot be encoded together, one of them is to blame: find it.
            let code = match &together {
                Ok(codes) => Ok(codes.as_codes().row(row)),
                Err(_) => encode_rows(model, &self.featurizers, modality, &[kept])
                    .map(|codes| codes.as_codes().row(0)),
            };
            row += 1;
            match code {
                Ok(code) => record.set_code(modality, code),
                Err(error) => *slot = Err(error),
            }
        }
    }

    /// The same under another model.
    pub(crate) fn with_model(mut self, model: &Model) -> Self {
        self.model = Some(model.clone());
        self
    }

    /// The codes of queries: given codes as they are, other inputs encoded.
    ///
    /// Inputs are named by their position counted from `first`.
    pub(crate) fn query_codes(&self, modality: Modality, inputs: &[Input], first: usize) -> Result<CodesBuf> {
        let kept: Vec<Option<Kept<'_>>> = inputs
            .par_iter()
            .enumerate()
            .map(|(position, input)| {
                let place = || Place::Query(first + position);
                match (input, &self.model) {
                    (Input::Code(code), _) => self.check_code_length(modality, code, place).map(|()| None),
                    (_, Some(_)) => self.kept(modality, input, place).map(Some),
                    (_, None) => Err(self.cannot_encode()),
                }
            })
            .collect::<Result<_>>()?;
        let mut encoded = CodesBuf::new(self.schema.bits());
        if let Some(model) = &self.model {
            let rows: Vec<&Kept<'_>> = kept.iter().flatten().collect();
            encoded = encode_rows(model, &self.featurizers, modality, &rows)?;
        }
        if encoded.rows() == inputs.len() {
            return Ok(encoded);
        }
        let mut codes = CodesBuf::new(self.schema.bits());
        let mut row = 0..encoded.rows();
        for input in inputs {
            match (input, row.clone().next()) {
                (Input::Code(code), _) => codes.push(code)?,
                (_, Some(next)) => {
                    codes.push(&encoded.as_codes().row(next))?;
                    row.next();
                }
                (_, None) => return Err(self.cannot_encode()),
            }
        }
        Ok(codes)
    }

    /// The outputs of the network for queries, each of unit norm, before they become bits.
    pub(crate) fn query_outputs(
        &self,
        modality: Modality,
        inputs: &[Input],
        first: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let kept: Vec<Kept<'_>> = inputs
            .par_iter()
            .enumerate()
            .map(|(position, input)| match input {
                Input::Code(_) => Err(rerank::refused("the query is a code, of which no outputs are known")),
                _ => self.kept(modality, input, || Place::Query(first + position)),
            })
            .collect::<Result<_>>()?;
        self.outputs(modality, &kept.iter().collect::<Vec<_>>())
    }

    /// The outputs of the network for stored records, in their order; `None` where the input was not kept.
    pub(crate) fn entry_outputs(
        &self,
        modality: Modality,
        entries: &[&Entry],
    ) -> Result<Vec<Option<Vec<f32>>>> {
        let inputs: Vec<Option<Input>> =
            entries.iter().map(|entry| rerank::kept_input(entry, modality)).collect();
        let kept: Vec<Option<Kept<'_>>> = inputs
            .par_iter()
            .zip(entries)
            .map(|(input, entry)| {
                let place = || Place::Record(entry.id().clone());
                input.as_ref().map(|input| self.kept(modality, input, place)).transpose()
            })
            .collect::<Result<_>>()?;
        let rows: Vec<&Kept<'_>> = kept.iter().flatten().collect();
        let mut outputs = self.outputs(modality, &rows)?.into_iter();
        Ok(kept.iter().map(|kept| kept.as_ref().and_then(|_| outputs.next())).collect())
    }

    /// The outputs for inputs of one modality as they are kept, in their order.
    fn outputs(&self, modality: Modality, rows: &[&Kept<'_>]) -> Result<Vec<Vec<f32>>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let Some(model) = &self.model else { return Err(self.cannot_encode()) };
        let mut values = vec![0.0; rows.len() * model.spec().width(modality)];
        write_rows(model, &self.featurizers, rows, &mut values)?;
        let outputs = model.outputs(modality, &values)?;
        Ok(outputs.chunks_exact(model.spec().bits.bits()).map(<[f32]>::to_vec).collect())
    }

    /// Why nothing can be encoded.
    pub(crate) fn cannot_encode(&self) -> Error {
        let collection = self.collection.to_string();
        if self.schema.has_external_codes() {
            Error::ExternalCodes { collection }
        } else {
            Error::Untrained { collection }
        }
    }
}

/// The codes of inputs, in their order.
pub(crate) fn encode_rows(
    model: &Model,
    featurizers: &Featurizers,
    modality: Modality,
    rows: &[&Kept<'_>],
) -> Result<CodesBuf> {
    let mut values = vec![0.0; rows.len() * model.spec().width(modality)];
    write_rows(model, featurizers, rows, &mut values)?;
    featurizers.accelerator().encode(model, modality, &values)
}

/// The values that a network reads, row after row, from inputs of one modality as they are kept.
fn write_rows(model: &Model, featurizers: &Featurizers, rows: &[&Kept<'_>], out: &mut [f32]) -> Result<()> {
    let width = out.len() / rows.len().max(1);
    let texts: Vec<&str> = rows.iter().filter_map(|row| row.text()).collect();
    if !texts.is_empty() && texts.len() == rows.len() {
        return featurizers.texts(model)?.encode(&texts, out);
    }
    // Of one modality a collection keeps either texts or features; a query may bring the other.
    out.par_chunks_mut(width.max(1)).zip(rows).try_for_each(|(out, row)| match row {
        Kept::Features(values) => {
            write_features(values, out);
            Ok(())
        }
        Kept::Text(text) => featurizers.texts(model)?.encode(&[text], out),
    })
}

/// Widens kept features.
pub(crate) fn write_features(values: &[f16], out: &mut [f32]) {
    let width = values.len().min(out.len());
    if let (Some(values), Some(out)) = (values.get(..width), out.get_mut(..width)) {
        values.convert_to_f32_slice(out);
    }
}

/// The type of ids in words.
fn ids(kind: IdKind) -> &'static str {
    match kind {
        IdKind::Auto => "u64, given by the database",
        IdKind::U64 => "u64",
        IdKind::Str => "str (1 to 1024 bytes)",
    }
}
