//! Single changes from many threads, committed together.
//!
//! The first thread that finds no transaction open becomes the leader: it opens one, makes its
//! change, lets those that were waiting make theirs, and commits. The others join and wait for the
//! leader's commit; those that come while it runs wait and form the next group.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::gate::lock;
use crate::txn::Transaction;

/// Changes in one commit at most.
const MAX_CHANGES: usize = 1024;

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    /// A leader is opening a transaction or committing one.
    Busy,
    /// Changes may be made.
    Open(Box<Transaction>),
}

#[derive(Default)]
struct Members {
    phase: Phase,
    /// Threads that wait while the phase is busy.
    waiting: usize,
    /// Changes in the open transaction.
    joined: usize,
    round: u64,
    /// Outcomes of rounds that followers have yet to fetch, with how many will.
    outcomes: HashMap<u64, (Result<(), Arc<Error>>, usize)>,
}

/// The threads that change one collection.
#[derive(Default)]
pub(crate) struct Group {
    members: Mutex<Members>,
    changed: Condvar,
}

impl Group {
    pub(crate) fn run<T>(
        &self,
        open: impl FnOnce() -> Result<Transaction, Error>,
        change: impl FnOnce(&mut Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut members = lock(&self.members);
        while matches!(members.phase, Phase::Busy) {
            members.waiting += 1;
            members = self.wait(members);
            members.waiting -= 1;
        }
        if let Phase::Open(_) = members.phase {
            return self.follow(members, change);
        }
        members.phase = Phase::Busy;
        drop(members);
        let opened = open();
        let mut members = lock(&self.members);
        let mut transaction = match opened {
            Ok(transaction) => Box::new(transaction),
            Err(error) => {
                self.settle(members);
                return Err(error);
            }
        };
        let own = guarded(&mut transaction, change);
        members.phase = Phase::Open(transaction);
        members.joined = 1;
        self.changed.notify_all();
        // Those that were waiting wake up one by one and join; so does whoever comes meanwhile.
        while members.waiting > 0 && members.joined < MAX_CHANGES {
            members = self.wait(members);
        }
        let followers = members.joined - 1;
        let Phase::Open(transaction) = std::mem::replace(&mut members.phase, Phase::Busy) else {
            self.settle(members);
            return Err(Error::Poisoned { reason: "a group of writers lost its transaction".to_owned() });
        };
        drop(members);
        let committed = transaction.commit().map(|_| ()).map_err(Arc::new);
        let mut members = lock(&self.members);
        if followers > 0 {
            let round = members.round;
            members.outcomes.insert(round, (committed.clone(), followers));
        }
        members.round += 1;
        self.settle(members);
        let value = own.unwrap_or_else(|panic| resume_unwind(panic))?;
        committed.map_err(|source| Error::Grouped { source })?;
        Ok(value)
    }

    fn follow<T>(
        &self,
        mut members: MutexGuard<'_, Members>,
        change: impl FnOnce(&mut Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        members.joined += 1;
        let round = members.round;
        let own = match &mut members.phase {
            Phase::Open(transaction) => guarded(transaction, change),
            Phase::Idle | Phase::Busy => {
                Ok(Err(Error::Poisoned { reason: "a group of writers lost its transaction".to_owned() }))
            }
        };
        self.changed.notify_all();
        let committed = loop {
            if let Some((outcome, left)) = members.outcomes.get_mut(&round) {
                let outcome = outcome.clone();
                *left -= 1;
                if *left == 0 {
                    members.outcomes.remove(&round);
                }
                break outcome;
            }
            members = self.wait(members);
        };
        drop(members);
        let value = own.unwrap_or_else(|panic| resume_unwind(panic))?;
        committed.map_err(|source| Error::Grouped { source })?;
        Ok(value)
    }

    fn settle(&self, mut members: MutexGuard<'_, Members>) {
        members.phase = Phase::Idle;
        members.joined = 0;
        drop(members);
        self.changed.notify_all();
    }

    fn wait<'m>(&self, members: MutexGuard<'m, Members>) -> MutexGuard<'m, Members> {
        self.changed.wait(members).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a change, or leaves the transaction as it was. The outer error is a caught panic, which the
/// caller passes on once its group is in order.
fn guarded<T>(
    transaction: &mut Transaction,
    change: impl FnOnce(&mut Transaction) -> Result<T, Error>,
) -> std::thread::Result<Result<T, Error>> {
    let before = transaction.savepoint();
    let result = catch_unwind(AssertUnwindSafe(|| change(transaction)));
    if !matches!(result, Ok(Ok(_))) {
        transaction.restore(before);
    }
    result
}
