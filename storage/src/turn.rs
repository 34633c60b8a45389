//! Who has the segments of a collection to itself: an install, which encodes each of them, or a
//! compaction, which replaces them. Writers are not concerned: they only add segments.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use crossbeam::channel::Sender;

use crate::gate::lock;
use crate::id::CollectionId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Install,
    Compaction,
    /// The worker's compaction; `wanted` once someone waits for it to make way.
    Background {
        wanted: bool,
    },
}

/// The turns of all collections.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    tasks: Mutex<HashMap<CollectionId, Task>>,
    ended: Condvar,
    worker: OnceLock<Sender<()>>,
}

impl Turns {
    /// How the worker is woken from now on.
    pub(crate) fn set_worker(&self, wake: Sender<()>) {
        let _ = self.worker.set(wake);
    }

    /// Tells the worker, if there is one, that there may be something to do.
    pub(crate) fn wake_worker(&self) {
        if let Some(wake) = self.worker.get() {
            // When it is full the worker will look anyway.
            let _ = wake.try_send(());
        }
    }

    /// Waits for a compaction to end; `None` when another install is running.
    pub(crate) fn install(&self, id: CollectionId) -> Option<Turn<'_>> {
        self.wait(id, Task::Install, |running| running == Task::Install)
    }

    /// Waits for an install or another compaction to end.
    pub(crate) fn compaction(&self, id: CollectionId) -> Option<Turn<'_>> {
        self.wait(id, Task::Compaction, |_| false)
    }

    /// For the worker: `None` when there is anything else.
    pub(crate) fn background(&self, id: CollectionId) -> Option<Turn<'_>> {
        self.wait(id, Task::Background { wanted: false }, |_| true)
    }

    fn wait(&self, id: CollectionId, task: Task, give_up: impl Fn(Task) -> bool) -> Option<Turn<'_>> {
        let mut tasks = lock(&self.tasks);
        while let Some(running) = tasks.get_mut(&id) {
            if give_up(*running) {
                return None;
            }
            if let Task::Background { wanted } = running {
                *wanted = true;
            }
            tasks = self.ended.wait(tasks).unwrap_or_else(PoisonError::into_inner);
        }
        tasks.insert(id, task);
        Some(Turn { turns: self, id })
    }
}

/// The one install or compaction of a collection; it ends on drop.
#[derive(Debug)]
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    id: CollectionId,
}

impl Turn<'_> {
    /// Whether someone waits for the worker to make way.
    pub(crate) fn is_wanted(&self) -> bool {
        lock(&self.turns.tasks).get(&self.id) == Some(&Task::Background { wanted: true })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let task = lock(&self.turns.tasks).remove(&self.id);
        self.turns.ended.notify_all();
        // It has made way for this one, and no commit may follow.
        if matches!(task, Some(Task::Install | Task::Compaction)) {
            self.turns.wake_worker();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CollectionId = CollectionId(1);
    const B: CollectionId = CollectionId(2);

    #[test]
    fn an_install_excludes_others_and_the_worker_never_waits() {
        let turns = Turns::default();
        let install = turns.install(A);
        assert!(install.is_some());
        assert!(turns.install(A).is_none());
        assert!(turns.background(A).is_none());
        assert!(turns.background(B).is_some());
        drop(install);
        assert!(turns.install(A).is_some());
    }

    #[test]
    fn the_worker_is_asked_to_make_way() {
        let turns = Turns::default();
        let background = turns.background(A).unwrap();
        assert!(!background.is_wanted());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.install(A).is_some());
            while !background.is_wanted() {
                std::thread::yield_now();
            }
            drop(background);
            assert!(waiting.join().unwrap());
        });
        assert!(turns.compaction(A).is_some());
    }
}
