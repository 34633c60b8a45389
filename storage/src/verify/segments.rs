//! Segment files: checksums, order, codes beside rows, indexes of codes, kept inputs.

use super::{MANY, VerifyReport};
use crate::indexer::SegmentIndexer;
use crate::view::CollectionView;

pub(super) fn verify(view: &CollectionView, indexer: Option<&dyn SegmentIndexer>, report: &mut VerifyReport) {
    let mut end = None;
    for segment in view.collection.segments() {
        let before = report.problems.len();
        let files = [Some(segment.rows.file()), segment.codes.as_ref().map(|codes| codes.file())];
        for file in files.into_iter().flatten() {
            report.files += 1;
            report.bytes += file.length();
            file.verify(&mut report.problems);
        }
        if let (Some(index), Some(codes)) = (&segment.index, &segment.codes) {
            report.files += 1;
            report.bytes += index.length();
            // Beside damaged codes it is compared with its checksums alone, and cannot be made anew.
            let are_sound = report.problems.len() == before;
            let mut problems = index.verify(codes, indexer.filter(|_| are_sound));
            problems.iter_mut().for_each(|problem| problem.repairable &= are_sound);
            report.problems.extend(problems);
        }
        let path = segment.rows.file().path();
        if end.is_some_and(|end| segment.rows.base() <= end) {
            report.add(path, "its ordinals overlap those of the segment before".to_owned());
        }
        end = Some(segment.rows.last());
        let ordinals = (0..segment.rows.rows()).map(|row| segment.rows.ordinal(row));
        if !ordinals.is_sorted_by(|a, b| a < b) {
            report.add(path, "its ordinals do not ascend".to_owned());
        }
        let has_codes = segment.codes.as_ref().map(|codes| codes.model());
        if view.info().codes_id() != has_codes {
            report.add(path, "the codes beside it are not of the collection's model".to_owned());
        }
        for damage in segment.rows.check_inputs().into_iter().take(MANY) {
            // Only damage is found there, and that is a problem rather than an error.
            let _ = report.note::<()>(Err(damage));
        }
    }
    if end.is_some_and(|end| end >= view.collection.next_ordinal) {
        let catalog = view.state.pin.catalog().path();
        report.add(catalog, "the next ordinal is one that a segment has already".to_owned());
    }
}
