//! What searches on the processor have cost so far, and what the card would have saved.

use std::collections::HashMap;
use std::time::Duration;

use crate::residency::MatrixKey;

/// An account for each matrix of codes that was searched.
///
/// This is how one decides whether to buy skis without knowing how long one will ski: rent until the rent
/// has come to the price. Whatever is asked for later, it costs at most about twice what it would have cost
/// had one known.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: HashMap<MatrixKey, Account>,
}

/// All times as expected by the planners, so that a busy machine changes nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    /// What scans would have taken.
    scans: Duration,
    /// What the searches took: less than that, where an index answered.
    spent: Duration,
    /// What the card would have saved since the codes were last copied there.
    saved: Duration,
}

impl Ledger {
    /// The time that a search on the processor is expected to take whose scan takes `scan`. With an index
    /// that is known only after some searches.
    pub(crate) fn expected(&self, key: &MatrixKey, scan: Duration, has_index: bool) -> Duration {
        match self.accounts.get(key) {
            Some(account) if !account.scans.is_zero() => {
                scan.mul_f64((account.spent.as_secs_f64() / account.scans.as_secs_f64()).min(2.0))
            }
            _ if has_index => Duration::ZERO,
            _ => scan,
        }
    }

    /// What the card would have saved.
    pub(crate) fn saved(&self, key: &MatrixKey) -> Duration {
        self.accounts.get(key).map_or(Duration::ZERO, |account| account.saved)
    }

    /// Notes a search on the processor whose scan was expected to take `scan`, which took `spent` and
    /// would have taken `card` on the card. Accounts of files that are closed go.
    pub(crate) fn note(&mut self, key: MatrixKey, scan: Duration, spent: Duration, card: Duration) {
        self.accounts.retain(|key, _| key.file.is_open());
        let account = self.accounts.entry(key).or_default();
        account.scans += scan;
        account.spent += spent;
        account.saved += spent.saturating_sub(card);
    }

    /// The codes were copied to the card, or could not be: it has to be earned anew.
    pub(crate) fn settle(&mut self, key: &MatrixKey) {
        if let Some(account) = self.accounts.get_mut(key) {
            account.saved = Duration::ZERO;
        }
    }
}
