//! Single changes from many threads, committed together.
//!
//! A thread that finds no transaction open opens one. Whoever comes while it is open makes its change
//! and waits for the outcome; who comes while it is committed waits for the next one.
//!
//! It is committed by the thread whose change makes it complete: nobody waits, and as many have come
//! as shared the commit before. When fewer come, the first one commits after half the time that the
//! commit before took. So a thread that is alone waits for nobody, and threads that put again and
//! again share each commit, although they return from the one before at different times.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::gate::lock;
use crate::txn::Transaction;

/// Changes in one commit at most.
const MAX_CHANGES: usize = 1024;
/// After a commit faster than this nobody is waited for: waking up would take as long.
const FAST_COMMIT: Duration = Duration::from_micros(80);
/// How long others are waited for at most.
const LONGEST_WAIT: Duration = Duration::from_millis(2);

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    /// A transaction is being opened or committed.
    Busy,
    /// Changes may be made.
    Open(Box<Shared>),
}

/// An open transaction.
struct Shared {
    transaction: Transaction,
    /// Changes made, those that failed included.
    joined: usize,
    /// Those of them that succeeded.
    made: usize,
    round: Arc<Round>,
}

/// What the threads of one transaction wait for.
#[derive(Default)]
struct Round {
    ended: Condvar,
    outcome: OnceLock<Outcome>,
}

type Outcome = Result<(), Arc<Error>>;

#[derive(Default)]
struct Members {
    phase: Phase,
    /// Threads that wait while the phase is busy, and the one that opened the transaction until it has
    /// made its own change: the others may be faster.
    waiting: usize,
    /// Changes in the last commit, and how long that took.
    last_joined: usize,
    last_time: Duration,
}

/// The threads that change one collection.
#[derive(Default)]
pub(crate) struct Group {
    members: Mutex<Members>,
    /// The phase is no longer busy.
    ready: Condvar,
}

impl Group {
    /// Makes a change in the open transaction, or in one that `open` begins, and returns once it is
    /// committed.
    pub(crate) fn run<T>(
        &self,
        open: impl Fn() -> Result<Transaction, Error>,
        change: impl FnOnce(&mut Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut members = self.until_open(open)?;
        let Phase::Open(shared) = &mut members.phase else { return Err(lost()) };
        let own = guarded(&mut shared.transaction, change);
        shared.joined += 1;
        shared.made += usize::from(matches!(own, Ok(Ok(_))));
        let (is_first, round) = (shared.joined == 1, shared.round.clone());
        let committed = match members.is_complete() {
            true => self.commit(members),
            false if is_first => self.gather(members, &round),
            false => round.wait(members),
        };
        let value = own.unwrap_or_else(|panic| resume_unwind(panic))?;
        committed.map_err(|source| Error::Grouped { source })?;
        Ok(value)
    }

    /// Waits for an open transaction, or opens one and calls those that wait.
    fn until_open(
        &self,
        open: impl Fn() -> Result<Transaction, Error>,
    ) -> Result<MutexGuard<'_, Members>, Error> {
        let mut members = lock(&self.members);
        loop {
            match members.phase {
                Phase::Open(_) => return Ok(members),
                Phase::Busy => {
                    members.waiting += 1;
                    members = self.ready.wait(members).unwrap_or_else(PoisonError::into_inner);
                    members.waiting -= 1;
                }
                Phase::Idle => {
                    let mut busy = Busy::new(self, members, None);
                    let (joined, made, round) = (0, 0, Arc::default());
                    busy.next = Phase::Open(Box::new(Shared { transaction: open()?, joined, made, round }));
                    drop(busy);
                    members = lock(&self.members);
                    members.waiting -= 1;
                }
            }
        }
    }

    /// Waits for others, though not for long, and commits unless one of them has.
    fn gather(&self, mut members: MutexGuard<'_, Members>, round: &Arc<Round>) -> Outcome {
        let until = Instant::now() + (members.last_time / 2).min(LONGEST_WAIT);
        loop {
            match &members.phase {
                Phase::Open(shared) if Arc::ptr_eq(&shared.round, round) => {}
                _ => return round.wait(members),
            }
            let left = match members.waiting {
                0 => until.saturating_duration_since(Instant::now()),
                // They have been called and are on their way.
                _ => LONGEST_WAIT,
            };
            if left.is_zero() {
                return self.commit(members);
            }
            members = round.ended.wait_timeout(members, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Commits the open transaction for all that made changes in it.
    fn commit(&self, mut members: MutexGuard<'_, Members>) -> Outcome {
        let Phase::Open(shared) = std::mem::take(&mut members.phase) else { return Err(Arc::new(lost())) };
        members.last_joined = shared.joined;
        // The round of those who wait ends however committing does.
        let busy = Busy::new(self, members, (shared.joined > 1).then(|| shared.round.clone()));
        let started = Instant::now();
        let outcome = match shared.made {
            0 => Ok(()),
            _ => shared.transaction.commit().map(|_| ()).map_err(Arc::new),
        };
        let _ = shared.round.outcome.set(outcome.clone());
        lock(&self.members).last_time = started.elapsed();
        drop(busy);
        outcome
    }
}

impl Members {
    /// Whether nobody else is expected in the open transaction.
    fn is_complete(&self) -> bool {
        let Phase::Open(shared) = &self.phase else { return false };
        let others_come = shared.joined < self.last_joined && self.last_time >= FAST_COMMIT;
        shared.joined >= MAX_CHANGES || !(others_come || self.waiting > 0)
    }
}

impl Round {
    fn wait(&self, mut members: MutexGuard<'_, Members>) -> Outcome {
        loop {
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            members = self.ended.wait(members).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn lost() -> Error {
    Error::Poisoned { reason: "a group of writers lost its transaction".to_owned() }
}

/// The phase in which one thread opens a transaction or commits it. Dropping it goes on to the next
/// phase, which must happen also when opening fails or committing panics.
struct Busy<'g> {
    group: &'g Group,
    /// The round that ends with it.
    ends: Option<Arc<Round>>,
    next: Phase,
}

impl<'g> Busy<'g> {
    fn new(group: &'g Group, mut members: MutexGuard<'_, Members>, ends: Option<Arc<Round>>) -> Self {
        members.phase = Phase::Busy;
        Busy { group, ends, next: Phase::Idle }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut members = lock(&self.group.members);
        members.phase = std::mem::take(&mut self.next);
        let (waiting, is_open) = (members.waiting > 0, matches!(members.phase, Phase::Open(_)));
        members.waiting += usize::from(is_open);
        if let Some(round) = &self.ends {
            round.outcome.get_or_init(|| Err(Arc::new(lost())));
        }
        drop(members);
        if let Some(round) = &self.ends {
            round.ended.notify_all();
        }
        match (waiting, is_open) {
            (true, true) => self.group.ready.notify_all(),
            // It opens a transaction, and then calls the others.
            (true, false) => self.group.ready.notify_one(),
            (false, _) => {}
        }
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
    use std::thread;

    use super::*;
    use crate::IdKind;
    use crate::tests::{config, open, text_record};

    const THREADS: usize = 8;

    /// Failing or panicking while opening must not lock the group up.
    #[test]
    fn a_thread_that_cannot_open_makes_way() {
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

    #[test]
    fn those_that_wait_for_a_transaction_share_its_commit() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
        let (group, version) = (Group::default(), store.view().version());
        let opening = || {
            while lock(&group.members).waiting < THREADS - 1 {
                thread::yield_now();
            }
            store.wait_writer(id)
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| group.run(opening, |writer| writer.put(text_record(None, "x"))).unwrap());
            }
        });
        assert_eq!(store.view().version(), version + 1);
        assert_eq!(store.view().collection(id).unwrap().len(), THREADS as u64);
    }

    /// Who put with others before is waited for, but not when it never comes.
    #[test]
    fn a_thread_whose_company_is_gone_commits_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
        let group = Group::default();
        {
            let mut members = lock(&group.members);
            (members.last_joined, members.last_time) = (THREADS, Duration::from_secs(3600));
        }
        for rows in 1..3 {
            group.run(|| store.wait_writer(id), |writer| writer.put(text_record(None, "x"))).unwrap();
            assert_eq!(lock(&group.members).last_joined, 1);
            assert_eq!(store.view().collection(id).unwrap().len(), rows);
        }
    }

    /// The company comes back: whoever makes it complete commits, without any waiting for time.
    #[test]
    fn the_last_of_those_expected_commits() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
        let transaction = store.wait_writer(id).unwrap();
        let shared = |joined| Shared { transaction, joined, made: joined, round: Arc::default() };
        let mut members = Members { phase: Phase::Open(Box::new(shared(2))), ..Members::default() };
        assert!(members.is_complete());
        (members.last_joined, members.last_time) = (3, FAST_COMMIT);
        assert!(!members.is_complete());
        members.last_joined = 2;
        assert!(members.is_complete());
        members.waiting = 1;
        assert!(!members.is_complete());
        (members.waiting, members.last_joined, members.last_time) = (0, 3, Duration::ZERO);
        assert!(members.is_complete());
    }
}
