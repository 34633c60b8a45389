//! The card beside the processor: opened when it is needed, used where that is worth it.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use twinbit_kernels::cuda::{AnyMachine, CudaError, MOST_NEAREST};

use crate::card_networks::CardNetworks;
use crate::device::{CardInfo, Device, DeviceStatus, open_card};
use crate::device_costs::DeviceCosts;
use crate::ledger::Ledger;
use crate::options::Builder;
use crate::residency::{MatrixKey, Residency};
use crate::turn::{Turn, Turns};
use crate::{Error, Result};

/// The share of the memory that is free when a card is opened which codes may take: the rest is for masks,
/// candidates and other programs.
const SHARE_OF_MEMORY: f64 = 0.75;

/// What a database may search, encode and train on beside the processor.
#[derive(Debug)]
pub(crate) struct Accelerator {
    device: Device,
    costs: DeviceCosts,
    budget: Option<u64>,
    /// Stands in for the card in tests.
    machine: Option<AnyMachine>,
    card: OnceLock<Result<Card, CudaError>>,
    /// Why the card is no longer used.
    failure: OnceLock<CudaError>,
    ledger: Mutex<Ledger>,
    /// What computing on a card would have saved before it was open.
    pub(crate) earned: Mutex<Duration>,
}

/// An open card.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) number: usize,
    pub(crate) machine: AnyMachine,
    info: CardInfo,
    budget: u64,
    /// One search at a time: a second one would only share memory and processors with the first.
    residency: Turns<Residency>,
    /// What was resident after the last search.
    resident: Mutex<Vec<(MatrixKey, u64)>>,
    networks: Mutex<CardNetworks>,
}

/// A search of one part, which may go to the card.
pub(crate) struct Wanted {
    pub(crate) key: MatrixKey,
    pub(crate) bytes: u64,
    pub(crate) mask_bytes: u64,
    pub(crate) queries: usize,
    /// The hits asked for; `None` for all within a radius.
    pub(crate) limit: Option<usize>,
    /// The time expected of a scan on the processor.
    pub(crate) scan: Duration,
    pub(crate) has_index: bool,
}

/// Why a part that could be is not searched on the card.
pub(crate) const TOO_MANY_HITS: &str = "a card finds at most 2,048 hits";
pub(crate) const CARD_FAILED: &str = "the card failed";
pub(crate) const BUSY: &str = "the card was busy";
const TOO_LARGE: &str = "larger than the card's memory for codes";
const NOT_WORTH_IT: &str = "the card is expected to take longer";
const NOT_WORTH_COPYING: &str = "not yet worth a copy to the card";

impl Accelerator {
    /// What the options ask for; a card asked for by its number is opened.
    pub(crate) fn new(options: &Builder) -> Result<Self> {
        let accelerator = Self {
            device: options.device,
            costs: options.device_costs,
            budget: options.device_memory,
            machine: options.machine.clone(),
            ..Self::processor()
        };
        if let Device::Cuda(_) = accelerator.device {
            accelerator.card().map_err(|reason| Error::NoCuda { reason: reason.clone() })?;
        }
        Ok(accelerator)
    }

    pub(crate) fn costs(&self) -> &DeviceCosts {
        &self.costs
    }

    /// The processor alone.
    pub(crate) fn processor() -> Self {
        Self {
            device: Device::Cpu,
            costs: DeviceCosts::default(),
            budget: None,
            machine: None,
            card: OnceLock::new(),
            failure: OnceLock::new(),
            ledger: Mutex::default(),
            earned: Mutex::default(),
        }
    }

    /// The card, opened by the first call.
    pub(crate) fn card(&self) -> Result<&Card, &CudaError> {
        if let Some(failure) = self.failure.get() {
            return Err(failure);
        }
        let open = || {
            let number = match self.device {
                Device::Cuda(number) => number,
                Device::Auto | Device::Cpu => 0,
            };
            let card = Card::open(number, self.machine.clone(), self.budget);
            match &card {
                Ok(card) => tracing::debug!(name = card.info.name, budget = card.budget, "card opened"),
                Err(error) => tracing::debug!(%error, "no card"),
            }
            card
        };
        self.card.get_or_init(open).as_ref()
    }

    /// The card, if it was opened already and works.
    pub(crate) fn open_card(&self) -> Option<&Card> {
        self.card.get()?.as_ref().ok().filter(|_| self.failure.get().is_none())
    }

    /// Whether the card must be used, so that what it cannot do is an error.
    pub(crate) fn is_demanded(&self) -> bool {
        matches!(self.device, Device::Cuda(_))
    }

    /// Whether there is a card, for all that is known.
    pub(crate) fn is_possible(&self) -> bool {
        self.device != Device::Cpu && self.failure.get().is_none() && !matches!(self.card.get(), Some(Err(_)))
    }

    /// The card if the part is to be searched there; otherwise why not, unless there is no card.
    pub(crate) fn choose(&self, wanted: &Wanted) -> Result<&Card, Option<&'static str>> {
        if !self.is_possible() {
            return Err(None);
        }
        let why_not = match wanted.limit {
            Some(limit) if limit > MOST_NEAREST => Some(TOO_MANY_HITS),
            _ if self.is_demanded() => None,
            _ => self.why_not(wanted),
        };
        match why_not {
            // As long as no card was opened nobody wants to know.
            Some(why_not) => Err(self.open_card().map(|_| why_not)),
            None => self.card().map_err(|_| None),
        }
    }

    /// Why the card is not worth it, if so.
    fn why_not(&self, wanted: &Wanted) -> Option<&'static str> {
        let costs = &self.costs;
        let on_card = costs.search(wanted.bytes, wanted.mask_bytes, wanted.queries);
        let ledger = self.ledger();
        let gain = ledger
            .expected(&wanted.key, wanted.scan, wanted.has_index)
            .checked_sub(on_card)
            .filter(|gain| !gain.is_zero());
        let card = self.open_card();
        if card.is_some_and(|card| wanted.bytes > card.budget) {
            return Some(TOO_LARGE);
        }
        if card.is_some_and(|card| card.is_resident(&wanted.key)) {
            return gain.is_none().then_some(NOT_WORTH_IT);
        }
        let opening = if card.is_some() { Duration::ZERO } else { costs.open };
        let price = costs.upload(wanted.bytes) + opening;
        let saved = ledger.saved(&wanted.key) + gain.unwrap_or_default();
        (saved.is_zero() || saved < price).then_some(NOT_WORTH_COPYING)
    }

    /// Notes a search on the processor that was expected to take `spent`.
    pub(crate) fn note(&self, wanted: &Wanted, spent: Duration) {
        if self.device == Device::Auto {
            let on_card = self.costs.search(wanted.bytes, wanted.mask_bytes, wanted.queries);
            self.ledger().note(wanted.key.clone(), wanted.scan, spent, on_card);
        }
    }

    /// The codes were copied to the card, or could not be.
    pub(crate) fn settle<'a>(&self, keys: impl IntoIterator<Item = &'a MatrixKey>) {
        let mut ledger = self.ledger();
        keys.into_iter().for_each(|key| ledger.settle(key));
    }

    /// How long it may be worth to wait for the card: as long as the processor would take.
    pub(crate) fn patience<'a>(&self, wanted: impl IntoIterator<Item = &'a Wanted>) -> Option<Duration> {
        let ledger = self.ledger();
        let expected = |wanted: &Wanted| ledger.expected(&wanted.key, wanted.scan, wanted.has_index);
        (!self.is_demanded()).then(|| wanted.into_iter().map(expected).sum())
    }

    /// The card failed, and is not used again, unless all it lacked was memory.
    pub(crate) fn failed(&self, error: &CudaError) {
        tracing::warn!(%error, "the processor does what the card could not");
        if !matches!(error, CudaError::OutOfMemory { .. }) {
            let _ = self.failure.set(error.clone());
        }
    }

    /// What is on the card, or why there is none.
    pub(crate) fn status(&self) -> DeviceStatus {
        let mut status = DeviceStatus::of(self.device);
        match (self.open_card(), self.failure.get(), self.card.get()) {
            (Some(card), ..) => {
                let resident = card.resident.lock().unwrap_or_else(PoisonError::into_inner);
                let open = resident.iter().filter(|(key, _)| key.file.is_open());
                status.resident_matrices = open.clone().count();
                status.resident_bytes = open.map(|(_, bytes)| bytes).sum();
                status.budget_bytes = card.budget;
                status.card = Some(card.info.clone());
            }
            (None, Some(failure), _) => status.no_card = Some(failure.to_string()),
            (None, None, Some(Err(error))) => status.no_card = Some(error.to_string()),
            (None, None, _) if self.device == Device::Cpu => {
                status.no_card = Some("the device is cpu".to_owned());
            }
            (None, None, _) => {
                status.no_card = Some("nothing was worth a card so far, so none was opened".to_owned());
            }
        }
        status
    }

    /// Another handle of the same card, whose work does not wait for that of the others.
    pub(crate) fn another_handle(&self, card: &Card) -> Result<AnyMachine, CudaError> {
        match &self.machine {
            Some(stand_in) => Ok(stand_in.clone()),
            None => Ok(open_card(card.number)?.0),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Card {
    fn open(number: usize, machine: Option<AnyMachine>, budget: Option<u64>) -> Result<Self, CudaError> {
        let (machine, info) = match machine {
            Some(machine) => (machine, CardInfo::of_stand_in(number)),
            None => open_card(number)?,
        };
        let budget = budget.unwrap_or((info.free_bytes as f64 * SHARE_OF_MEMORY) as u64);
        let residency = Turns::new(Residency::new(machine.clone(), budget));
        Ok(Self {
            number,
            machine,
            info,
            budget,
            residency,
            resident: Mutex::default(),
            networks: Mutex::default(),
        })
    }

    /// Waits until nobody else searches on the card; not beyond `most`, nor once `stop` returns true.
    pub(crate) fn take(
        &self,
        most: Option<Duration>,
        stop: &dyn Fn() -> bool,
    ) -> Option<Turn<'_, Residency>> {
        self.residency.take(most, stop)
    }

    /// Notes what is resident now.
    pub(crate) fn note(&self, residency: &Residency) {
        let now = residency.matrices().map(|(key, bytes)| (key.clone(), bytes)).collect();
        *self.resident.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The networks that are there, for one thread at a time.
    pub(crate) fn networks(&self) -> MutexGuard<'_, CardNetworks> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_resident(&self, key: &MatrixKey) -> bool {
        let resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        resident.iter().any(|(other, _)| other == key)
    }
}
