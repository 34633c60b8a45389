//! The specification inside a checkpoint, and how two of them are compared.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::backbone::BackboneHeader;
use super::origin::Origin;
use super::{VERSION, malformed};
use crate::Error;
use crate::config::TrainConfig;
use crate::machine::TrainingMachine;
use crate::spec::ModelSpec;

/// The JSON in a checkpoint's metadata.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) spec: ModelSpec,
    pub(super) config: TrainConfig,
    pub(super) origin: Origin,
    /// What drew and rounded in its epochs.
    #[serde(default)]
    pub(super) machine: TrainingMachine,
    /// Epochs that have ended.
    pub(super) epochs: u32,
    /// Updates that the optimizer has made.
    pub(super) updates: i32,
    /// The best epoch so far, counted from 1.
    pub(super) best_epoch: Option<u32>,
    /// Of a run that trains a backbone along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backbone: Option<BackboneHeader>,
}

#[derive(Deserialize)]
struct VersionIn {
    version: u32,
}

impl Header {
    pub(super) fn parse(json: &str) -> Result<Self, Error> {
        let unreadable = |error| malformed(format!("its metadata is not readable: {error}"));
        let VersionIn { version } = serde_json::from_str(json).map_err(unreadable)?;
        if version > VERSION {
            return Err(Error::CheckpointVersion { found: version, supported: VERSION });
        }
        let header: Self = serde_json::from_str(json).map_err(unreadable)?;
        if let Some(fault) = header.spec.fault() {
            return Err(malformed(fault));
        }
        if header.best_epoch.is_some_and(|best| best == 0 || best > header.epochs) {
            return Err(malformed("its best epoch is none of its epochs"));
        }
        let backbone = header.backbone.as_ref();
        if header.updates < 0 || backbone.is_some_and(|backbone| backbone.updates < 0) {
            return Err(malformed("it counts fewer than no updates"));
        }
        if backbone.is_some_and(|backbone| backbone.best_bytes.is_some() != header.best_epoch.is_some()) {
            return Err(malformed("it has a best epoch without its backbone, or the other way round"));
        }
        Ok(header)
    }
}

/// The first field that differs: its name and its two values, as JSON.
///
/// `saved` came out of JSON, whose parser may move a number by its last bit; so `given` goes
/// through it before they are compared.
pub(super) fn difference<T: Serialize>(
    saved: &T,
    given: &T,
) -> Result<Option<(String, String, String)>, Error> {
    let fields = |value: &T| -> serde_json::Result<Value> {
        let text = serde_json::to_string(value)?;
        serde_json::from_str(&text)
    };
    let both = fields(saved).and_then(|saved| Ok((saved, fields(given)?)));
    let (saved, given) = both.map_err(|error| malformed(error.to_string()))?;
    let differs = |name: &&String| saved[*name] != given[*name];
    // What is as in the paper may be left out, on either side.
    let names = [&given, &saved].into_iter().filter_map(Value::as_object).flat_map(|fields| fields.keys());
    let name = names.into_iter().find(differs);
    let told = |value: &Value| if value.is_null() { "as in the paper".to_owned() } else { value.to_string() };
    Ok(name.map(|name| (name.replace('_', " "), told(&saved[name]), told(&given[name]))))
}
