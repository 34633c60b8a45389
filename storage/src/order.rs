//! Many ids brought into the order of their keys.

use crate::id::RecordId;

/// Sorts by id. Comparing strings means waiting for memory, so each comes with the first bytes in
/// which it may differ from the others, as a number; that mostly decides.
pub(crate) fn by_id<'i, T>(
    ids: impl Iterator<Item = (&'i RecordId, T)> + Clone,
) -> impl Iterator<Item = (&'i RecordId, T)> {
    let common = common_prefix(ids.clone().map(|(id, _)| id));
    let mut sorted: Vec<_> = ids.map(|(id, what)| (head(id, common), id, what)).collect();
    sorted.sort_unstable_by(|(a_head, a, _), (b_head, b, _)| a_head.cmp(b_head).then_with(|| a.cmp(b)));
    sorted.into_iter().map(|(_, id, what)| (id, what))
}

/// The number of first bytes that all strings share.
fn common_prefix<'i>(mut ids: impl Iterator<Item = &'i RecordId>) -> usize {
    let Some(RecordId::Str(first)) = ids.next() else { return 0 };
    let mut common = first.len();
    for id in ids {
        let RecordId::Str(id) = id else { return 0 };
        let shared = first.bytes().zip(id.bytes()).take(common).take_while(|(a, b)| a == b).count();
        common = shared;
    }
    common
}

/// A number or, of a string, the eight bytes behind the first `skip`, in the order of the ids.
fn head(id: &RecordId, skip: usize) -> u64 {
    match id {
        RecordId::U64(number) => *number,
        RecordId::Str(text) => {
            let mut head = [0; 8];
            head.iter_mut().zip(text.bytes().skip(skip)).for_each(|(to, from)| *to = from);
            u64::from_be_bytes(head)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(ids: &[RecordId]) {
        let mut expected: Vec<_> = ids.iter().collect();
        expected.sort();
        let found: Vec<_> = by_id(ids.iter().map(|id| (id, ()))).map(|(id, ())| id).collect();
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn ids_are_sorted_as_they_compare(
            prefix in "[a-cä]{0,9}",
            texts in proptest::collection::hash_set("[\\x00a-cä]{0,12}", 0..40),
            numbers in proptest::collection::vec(any::<u64>(), 0..40),
        ) {
            check(&texts.iter().map(|text| format!("{prefix}{text}").into()).collect::<Vec<_>>());
            check(&numbers.into_iter().map(RecordId::U64).collect::<Vec<_>>());
        }
    }
}
