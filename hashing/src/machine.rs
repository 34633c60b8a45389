//! What computes a training run.

use std::fmt;

use serde::{Deserialize, Serialize};
use twinbit_kernels::cuda::train::Precision;

use crate::Error;

/// What computed a training run.
///
/// It is part of what a seed means: a card draws negatives and dropout by another generator than the
/// processor, and rounds its products otherwise. A run keeps to one of these from its first epoch to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum TrainingMachine {
    /// The processor.
    #[default]
    Processor,
    /// An NVIDIA card whose products round to this.
    Card(Precision),
}

impl TrainingMachine {
    fn all() -> impl Iterator<Item = Self> {
        Precision::ALL.into_iter().map(Self::Card).chain([Self::Processor])
    }

    /// Whether it is the processor.
    pub(crate) fn is_processor(&self) -> bool {
        *self == Self::Processor
    }

    /// Its name in files: `processor`, or `card-` and the precision.
    fn name(self) -> String {
        match self {
            Self::Processor => "processor".to_owned(),
            Self::Card(precision) => format!("card-{precision}"),
        }
    }
}

impl fmt::Display for TrainingMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processor => f.write_str("the processor"),
            Self::Card(precision) => write!(f, "a card with {precision} products"),
        }
    }
}

impl From<TrainingMachine> for String {
    fn from(machine: TrainingMachine) -> Self {
        machine.name()
    }
}

impl TryFrom<String> for TrainingMachine {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        let reason = || format!("its machine is {name:?}, which this program does not know");
        Self::all()
            .find(|machine| machine.name() == name)
            .ok_or_else(|| Error::Checkpoint { reason: reason() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_survives_json() {
        for machine in TrainingMachine::all() {
            let json = serde_json::to_string(&machine).unwrap();
            assert_eq!(serde_json::from_str::<TrainingMachine>(&json).unwrap(), machine);
        }
        assert_eq!(serde_json::to_string(&TrainingMachine::Card(Precision::Tf32)).unwrap(), "\"card-tf32\"");
        assert!(serde_json::from_str::<TrainingMachine>("\"card-fp8\"").is_err());
    }
}
