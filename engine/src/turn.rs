//! Something that one thread uses at a time, while the others wait no longer than they like.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a thread that waits asks whether it still wants to.
const PATIENCE: Duration = Duration::from_millis(5);

/// A thing that threads use in turns.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    taken: Mutex<bool>,
    over: Condvar,
    /// Locked only by whoever has taken the turn.
    thing: Mutex<T>,
}

/// A turn; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a, T> {
    pub(crate) thing: MutexGuard<'a, T>,
    turns: &'a Turns<T>,
}

impl<T> Turns<T> {
    pub(crate) fn new(thing: T) -> Self {
        Self { taken: Mutex::new(false), over: Condvar::new(), thing: Mutex::new(thing) }
    }

    /// Waits for a turn, until `stop` returns true or `most` has gone by: then there is none.
    pub(crate) fn take(&self, most: Option<Duration>, stop: &dyn Fn() -> bool) -> Option<Turn<'_, T>> {
        let begin = Instant::now();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            if stop() || most.is_some_and(|most| begin.elapsed() >= most) {
                return None;
            }
            taken = self.over.wait_timeout(taken, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Turn { thing: self.thing.lock().unwrap_or_else(PoisonError::into_inner), turns: self })
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        *self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.turns.over.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time_has_its_turn() {
        let turns = Turns::new(0_u32);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        *turns.take(None, &|| false).unwrap().thing += 1;
                    }
                });
            }
        });
        assert_eq!(*turns.take(None, &|| false).unwrap().thing, 400);
    }

    #[test]
    fn nobody_has_to_wait() {
        let turns = Turns::new(());
        let turn = turns.take(None, &|| false);
        assert!(turns.take(None, &|| true).is_none());
        assert!(turns.take(Some(Duration::from_millis(1)), &|| false).is_none());
        drop(turn);
        // Who need not wait is not asked.
        assert!(turns.take(None, &|| true).is_some());
    }
}
