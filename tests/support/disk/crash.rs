//! Draws of what a power failure leaves of what was not synced.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::steps::{Entries, enter};
use super::{Change, FileState, FolderState, put};

/// Draws what a power failure leaves, the same for the same seed and recording.
#[derive(Debug)]
pub struct CrashModel {
    random: ChaCha8Rng,
}

impl CrashModel {
    /// A model for one failure.
    pub fn new(seed: u64) -> Self {
        CrashModel { random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    fn chance(&mut self) -> f64 {
        [0.0, 0.1, 0.5, 0.9, 1.0][self.below(5)]
    }

    /// Of each folder the entries up to some change; or of all folders those up to some change of any
    /// of them, as one journal keeps them.
    pub(super) fn names(&mut self, folders: &[FolderState]) -> Vec<Entries> {
        let mut lines: Vec<usize> =
            folders.iter().flat_map(|folder| &folder.pending).map(|(line, _)| *line).collect();
        lines.sort_unstable();
        lines.push(usize::MAX);
        let journal = self.random.random_bool(0.5).then(|| lines[self.below(lines.len())]);
        folders
            .iter()
            .map(|folder| {
                let kept = match journal {
                    Some(end) => folder.pending.partition_point(|(line, _)| *line < end),
                    None => self.below(folder.pending.len() + 1),
                };
                let mut names = folder.synced.clone();
                folder.pending[..kept].iter().for_each(|(_, entries)| enter(&mut names, entries));
                names
            })
            .collect()
    }

    pub(super) fn data(&mut self, file: &FileState) -> Vec<u8> {
        let mut bytes = file.synced.clone();
        let changes = file.pending.iter().map(|(_, change)| change);
        match self.below(if file.in_order { 3 } else { 4 }) {
            0 => {}
            1 => changes.for_each(|change| change.apply(&mut bytes)),
            // The writes up to some byte of one of them.
            2 => {
                let whole = self.below(file.pending.len() + 1);
                changes.clone().take(whole).for_each(|change| change.apply(&mut bytes));
                if let Some(Change::Data { offset, bytes: torn }) = changes.clone().nth(whole) {
                    let kept = self.below(torn.len() + 1);
                    put(&mut bytes, *offset, &torn[..kept]);
                }
            }
            _ => self.sectors(file, &mut bytes),
        }
        bytes
    }

    /// Each sector of each write for itself.
    fn sectors(&mut self, file: &FileState, bytes: &mut Vec<u8>) {
        let sector = [512, 4096][self.below(2)];
        let chance = self.chance();
        if self.random.random_bool(0.3) {
            // The file has grown without its bytes.
            let (before, after) = (bytes.len(), file.whole().len());
            if after > before {
                bytes.resize(after, 0);
                if self.random.random_bool(0.5) {
                    self.random.fill_bytes(&mut bytes[before..]);
                }
            }
        }
        for (_, change) in &file.pending {
            let Change::Data { offset, bytes: data } = change else {
                if self.random.random_bool(chance) {
                    change.apply(bytes);
                }
                continue;
            };
            let mut at = 0;
            while at < data.len() {
                let length = (sector - (offset + at) % sector).min(data.len() - at);
                if self.random.random_bool(chance) {
                    put(bytes, offset + at, &data[at..at + length]);
                }
                at += length;
            }
        }
    }
}
