//! Who may write to a collection: one exclusive transaction, or one short one after the other.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Locks, going on after a panic elsewhere: what our locks protect is valid after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holder {
    #[default]
    Nobody,
    /// A single put or a maintenance step: worth waiting for.
    Short,
    /// An application's transaction: may stay open for hours.
    Exclusive,
}

/// The writer's place of one collection.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    place: Mutex<Place>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Place {
    holder: Holder,
    /// Threads that wait for it. While there is none, giving it back takes no system call.
    waiting: usize,
}

impl Gate {
    /// Takes the place for an open-ended transaction; `None` when another such transaction has it.
    pub(crate) fn exclusive(self: &Arc<Self>) -> Option<Pass> {
        let mut place = lock(&self.place);
        loop {
            match place.holder {
                Holder::Exclusive => return None,
                Holder::Short => place = self.wait(place),
                Holder::Nobody => return Some(self.take(place, Holder::Exclusive)),
            }
        }
    }

    /// Waits for the place.
    pub(crate) fn short(self: &Arc<Self>) -> Pass {
        let mut place = lock(&self.place);
        while place.holder != Holder::Nobody {
            place = self.wait(place);
        }
        self.take(place, Holder::Short)
    }

    fn wait<'p>(&self, mut place: MutexGuard<'p, Place>) -> MutexGuard<'p, Place> {
        place.waiting += 1;
        let mut place = self.freed.wait(place).unwrap_or_else(PoisonError::into_inner);
        place.waiting -= 1;
        place
    }

    fn take(self: &Arc<Self>, mut place: MutexGuard<'_, Place>, holder: Holder) -> Pass {
        place.holder = holder;
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
        let mut place = lock(&self.gate.place);
        place.holder = Holder::Nobody;
        if place.waiting > 0 {
            self.gate.freed.notify_all();
        }
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
