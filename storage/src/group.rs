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
    /// Those of them that succeeded.
    made: usize,
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
        // From here on the group is in order again however this ends.
        let mut leader = Leader { group: self, outcome: None };
        let mut transaction = Box::new(open()?);
        let mut members = lock(&self.members);
        let own = guarded(&mut transaction, change);
        members.phase = Phase::Open(transaction);
        members.joined = 1;
        members.made = usize::from(matches!(own, Ok(Ok(_))));
        self.changed.notify_all();
        // Those that were waiting wake up one by one and join; so does whoever comes meanwhile.
        while members.waiting > 0 && members.joined < MAX_CHANGES {
            members = self.wait(members);
        }
        let Phase::Open(transaction) = std::mem::replace(&mut members.phase, Phase::Busy) else {
            return Err(lost());
        };
        let made = members.made;
        drop(members);
        let committed = match made {
            0 => Ok(()),
            _ => transaction.commit().map(|_| ()).map_err(Arc::new),
        };
        leader.outcome = Some(committed.clone());
        drop(leader);
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
            Phase::Idle | Phase::Busy => Ok(Err(lost())),
        };
        members.made += usize::from(matches!(own, Ok(Ok(_))));
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

    fn wait<'m>(&self, members: MutexGuard<'m, Members>) -> MutexGuard<'m, Members> {
        self.changed.wait(members).unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost() -> Error {
    Error::Poisoned { reason: "a group of writers lost its transaction".to_owned() }
}

/// The leader of a group. Dropping it ends the round: followers get the outcome, waiting threads go
/// on. That must happen also when opening fails or when committing panics.
struct Leader<'g> {
    group: &'g Group,
    outcome: Option<Result<(), Arc<Error>>>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut members = lock(&self.group.members);
        let followers = members.joined.saturating_sub(1);
        if followers > 0 {
            let (round, outcome) = (members.round, self.outcome.take());
            members.outcomes.insert(round, (outcome.unwrap_or_else(|| Err(Arc::new(lost()))), followers));
        }
        members.round += 1;
        members.joined = 0;
        let phase = std::mem::take(&mut members.phase);
        drop(members);
        drop(phase);
        self.group.changed.notify_all();
    }
}

/// Makes a change, or leaves the transaction as it was. The outer error is a caught panic, which the
/// caller passes on once its group is in order.
fn guarded<T>(
    transaction: &mut Transaction,
    change: impl FnOnce(&mut Transaction) -> Result<T, Error>,
) -> std::thread::Result<Result<T, Error>> {
    transaction.begin_change();
    let result = catch_unwind(AssertUnwindSafe(|| change(transaction)));
    transaction.end_change(matches!(result, Ok(Ok(_))));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failing or panicking while opening must not lock the group up.
    #[test]
    fn a_leader_that_cannot_open_makes_way() {
        let group = Group::default();
        for _ in 0..2 {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                group.run::<()>(|| resume_unwind(Box::new("on purpose")), |_| Ok(()))
            }));
            assert!(panicked.is_err());
            let failed = group.run::<()>(|| Err(Error::ReadOnly), |_| Ok(()));
            assert!(matches!(failed, Err(Error::ReadOnly)));
            assert!(matches!(lock(&group.members).phase, Phase::Idle));
        }
    }
}
