//! Activations that are kept from picture to picture.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Activations that no picture needs now: as many as there were pictures under way at once. They are
/// megabytes each, and fresh ones cost a third of a picture's time in pages that the kernel clears.
#[derive(Default)]
pub(super) struct Scratches<T>(Mutex<Vec<T>>);

impl<T: Default> Scratches<T> {
    /// Lends activations to `work`.
    pub(super) fn lend<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut scratch = self.idle().pop().unwrap_or_default();
        let result = work(&mut scratch);
        self.idle().push(scratch);
        result
    }

    fn idle(&self) -> MutexGuard<'_, Vec<T>> {
        // Whatever a thread that panicked left in them is overwritten.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `buffer` with exactly `length` numbers, whatever they are: the caller overwrites them.
pub(crate) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_is_lent_again() {
        let scratches = Scratches::<Vec<u8>>::default();
        scratches.lend(|scratch| scratch.push(1));
        scratches.lend(|first| {
            assert_eq!(*first, [1]);
            scratches.lend(|second| assert!(second.is_empty()));
        });
        assert_eq!(scratches.idle().len(), 2);
    }
}
