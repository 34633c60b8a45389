//! Who may write to a collection: one exclusive transaction, or one short one after the other.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Locks, going on after a panic elsewhere: what our locks protect is valid after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// A single put or a maintenance step: worth waiting for.
    Short,
    /// An application's transaction: may stay open for hours.
    Exclusive,
}

/// The writer's place of one collection.
#[derive(Debug)]
pub(crate) struct Gate {
    holder: Mutex<Holder>,
    freed: Condvar,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { holder: Mutex::new(Holder::Nobody), freed: Condvar::new() }
    }
}

impl Gate {
    /// Takes the place for an open-ended transaction; `None` when another such transaction has it.
    pub(crate) fn exclusive(self: &Arc<Self>) -> Option<Pass> {
        let mut holder = lock(&self.holder);
        loop {
            match *holder {
                Holder::Exclusive => return None,
                Holder::Short => holder = self.freed.wait(holder).unwrap_or_else(PoisonError::into_inner),
                Holder::Nobody => {
                    *holder = Holder::Exclusive;
                    return Some(Pass { gate: self.clone() });
                }
            }
        }
    }

    /// Waits for the place.
    pub(crate) fn short(self: &Arc<Self>) -> Pass {
        let mut holder = lock(&self.holder);
        while *holder != Holder::Nobody {
            holder = self.freed.wait(holder).unwrap_or_else(PoisonError::into_inner);
        }
        *holder = Holder::Short;
        Pass { gate: self.clone() }
    }
}

/// The right to write, given back on drop.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        *lock(&self.gate.holder) = Holder::Nobody;
        self.gate.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_exclusive_holder_is_refused_at_once() {
        let gate = Arc::new(Gate::default());
        let first = gate.exclusive();
        assert!(first.is_some());
        assert!(gate.exclusive().is_none());
        drop(first);
        assert!(gate.exclusive().is_some());
    }

    #[test]
    fn short_holders_are_waited_for() {
        let gate = Arc::new(Gate::default());
        let short = gate.short();
        let waiting = std::thread::spawn({
            let gate = gate.clone();
            move || gate.exclusive().is_some()
        });
        drop(short);
        assert!(waiting.join().unwrap());
    }
}
