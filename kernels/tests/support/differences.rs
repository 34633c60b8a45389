//! What is not as it should be, in one line however much is compared.

use std::fmt::Debug;

/// Panic unless all values are the same; names the first that differs, and how many do.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, got: &[T], expected: &[T]) {
    let wrong = |place: &usize| got.get(*place) != expected.get(*place);
    let longest = got.len().max(expected.len());
    let Some(first) = (0..longest).find(wrong) else { return };
    panic!(
        "{what}: {:?} is not {:?} at {first}; {} of {longest} differ, {} were given and {} expected",
        got.get(first),
        expected.get(first),
        (first..longest).filter(wrong).count(),
        got.len(),
        expected.len()
    );
}
