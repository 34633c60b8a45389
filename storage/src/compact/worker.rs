//! The thread that compacts in the background, and makes search indexes of what is compact.
//!
//! It is woken by commits and by the end of what it made way for, works at a bounded pace, makes way for installs and compactions by hand,
//! and ends with the last handle of the store, which waits for it: at most for one step of a merge.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::pace::Pace;
use super::{merge, policy, purge, segments, sizes};
use crate::error::Error;
use crate::id::CollectionId;
use crate::indexing;
use crate::segment::Segment;
use crate::store::Inner;
use crate::turn::Turn;

/// Between two looks at the segments, however often commits wake the worker.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// Shorter waits are put together; within longer ones the worker looks whether it is to make way.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// How long a collection is let be after a failure, doubled by each further one.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// The running thread. Dropping it ends the thread and waits for that.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread. It holds the store's inner part, but not the handle whose end ends it.
    pub(crate) fn start(store: &Arc<Inner>) -> Result<Worker, Error> {
        let (wake, woken) = channel::bounded(1);
        let (stop, stopped) = channel::bounded(0);
        // What an earlier process left to do is done without waiting for a commit.
        let _ = wake.try_send(());
        store.turns.set_worker(wake);
        let inner = store.clone();
        let thread = std::thread::Builder::new()
            .name("twinbit-compact".to_owned())
            .spawn(move || Loop { store: &inner, stopped: &stopped, resting: HashMap::new() }.run(&woken))
            .map_err(Error::io(&store.layout.root, "start a thread for"))?;
        Ok(Worker { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its thread.
            let _ = thread.join();
        }
    }
}

/// A collection that is let be for a while.
#[derive(Clone, Copy)]
struct Resting {
    until: Instant,
    next: Duration,
}

struct Loop<'s> {
    store: &'s Inner,
    stopped: &'s Receiver<Infallible>,
    resting: HashMap<CollectionId, Resting>,
}

impl Loop<'_> {
    fn run(mut self, woken: &Receiver<()>) {
        loop {
            let rest = self.resting.values().map(|resting| resting.until).min();
            let rest = rest.map_or(LONGEST_REST, |until| until.saturating_duration_since(Instant::now()));
            channel::select! {
                recv(woken) -> _ => {}
                recv(self.stopped) -> _ => return,
                default(rest) => {}
            }
            while self.look() {}
            if self.pause(BETWEEN_LOOKS).is_err() {
                return;
            }
        }
    }

    /// One merge or index in each collection that needs one; whether there were any.
    fn look(&mut self) -> bool {
        let ids: Vec<_> = self.store.state().collections().map(|collection| collection.info.id).collect();
        self.resting.retain(|id, _| ids.contains(id));
        let mut merged = false;
        for id in ids {
            let resting = self.resting.get(&id).copied();
            if resting.is_some_and(|resting| resting.until > Instant::now()) {
                continue;
            }
            match self.compact_one(id) {
                Ok(true) => {
                    self.resting.remove(&id);
                    merged = true;
                }
                Ok(false) | Err(Error::Canceled | Error::NotFound { .. }) => {
                    self.resting.remove(&id);
                }
                Err(error) => {
                    tracing::warn!(%error, collection = %id, "segments stay as they are for now");
                    let next = resting.map_or(FIRST_REST, |resting| resting.next);
                    let until = Instant::now() + next;
                    self.resting.insert(id, Resting { until, next: (next * 2).min(LONGEST_REST) });
                }
            }
            if self.is_stopped() {
                return false;
            }
        }
        merged
    }

    fn compact_one(&self, id: CollectionId) -> Result<bool, Error> {
        self.store.check_writable()?;
        let Some(turn) = self.store.turns.background(id) else { return Ok(false) };
        let run = {
            let state = self.store.state();
            let collection = state.collection(id)?;
            match policy::choose(&sizes(collection)) {
                Some(run) => segments(collection, run),
                None => return self.index_one(id, &turn),
            }
        };
        let mut pace = Pace::new(self.store.options.compaction.bytes_per_second);
        let mut step = |bytes| self.step(&turn, &mut pace, bytes);
        let merged = match merge(self.store, id, &run, &mut step) {
            // The policy leaves it out from now on, so that the others are merged.
            Err(error) if run.iter().any(Segment::is_damaged) => {
                tracing::warn!(%error, collection = %id, "a damaged segment is left out of compaction");
                return Ok(true);
            }
            merged => merged?,
        };
        tracing::debug!(collection = %id, segments = run.len(), rows_dropped = merged.rows_dropped, "merged");
        drop(run);
        purge::purge_dropped(self.store, id, &merged.dropped, merged.range, &mut step)?;
        Ok(true)
    }

    /// The index of one segment that is to get one; whether there was any.
    fn index_one(&self, id: CollectionId, turn: &Turn<'_>) -> Result<bool, Error> {
        let Some(segment) = indexing::due(self.store, id)?.into_iter().next() else { return Ok(false) };
        let mut pace = Pace::new(self.store.options.compaction.bytes_per_second);
        let mut step = |bytes| self.step(turn, &mut pace, bytes);
        match indexing::build(self.store, id, &segment, true, &mut step) {
            Ok(bytes) => tracing::debug!(collection = %id, rows = segment.rows.rows(), bytes, "indexed"),
            Err(error) if segment.is_damaged() => {
                tracing::warn!(%error, collection = %id, "a damaged segment gets no index");
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn step(&self, turn: &Turn<'_>, pace: &mut Pace, bytes: u64) -> Result<(), Error> {
        let mut wait = pace.wait_after(bytes, Instant::now());
        if wait < SHORTEST_WAIT {
            wait = Duration::ZERO;
        }
        loop {
            if turn.is_wanted() || self.is_stopped() {
                return Err(Error::Canceled);
            }
            if wait.is_zero() {
                return Ok(());
            }
            let here = wait.min(LONGEST_WAIT);
            self.pause(here)?;
            wait -= here;
        }
    }

    /// Waits, unless the store is being closed.
    fn pause(&self, time: Duration) -> Result<(), Error> {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Canceled),
            Ok(never) => match never {},
        }
    }

    fn is_stopped(&self) -> bool {
        matches!(self.stopped.try_recv(), Err(TryRecvError::Disconnected))
    }
}
