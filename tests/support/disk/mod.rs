//! A model of a disk: from the calls of a recorded workload to what a power failure may leave.
//!
//! # What the model promises
//! - `fsync` and `fdatasync` of a file: every write to it and change of its length that had returned
//!   when the sync began is there after a power failure, whatever name the file has by then. Nothing
//!   is promised about its name.
//! - `fsync` of a folder: every entry that was made, renamed or removed in it before the sync began is
//!   as it was then.
//! - A rename is atomic: never is neither name there, never both.
//! - The changes of one folder's entries that were not synced are kept up to some change, as file
//!   systems keep them that write a journal or copy on write (ext4, XFS, Btrfs, APFS). RocksDB needs
//!   it: it makes a manifest and renames `CURRENT` to name it before it syncs the folder.
//! - Bytes that were synced are not harmed by later writes to other bytes or to other files.
//!
//! # What it does not promise
//! Whatever was not synced may be there, not there, or partly there, each file and each folder for
//! itself and in any order: writes are torn at any byte, or each of their sectors of 512 or 4096
//! bytes is lost or kept; a file may have grown without its bytes, which are then zeros or garbage.
//! A file may be there without its name or have a name without its bytes.
//!
//! One file gets an easier disk: what was appended to RocksDB's `MANIFEST` is kept up to some byte.
//! RocksDB refuses a manifest with bytes at its end that were never written, though nothing is lost, so
//! the database assumes a file system on which a file that grows does not show such bytes: ext4 in its
//! usual mode, XFS, Btrfs and APFS are.
//!
//! RocksDB's own log of events (`LOG`), which nothing reads, is left out.

mod crash;
mod steps;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

pub use crash::CrashModel;
use steps::{Entries, Naming, Node, Reader, Step, enter};

use crate::strace::Call;

#[derive(Clone, Debug)]
enum Change {
    Data { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct FileState {
    /// Appends are kept from the first one on.
    in_order: bool,
    synced: Vec<u8>,
    pending: Vec<(usize, Change)>,
}

#[derive(Clone, Debug, Default)]
struct FolderState {
    synced: Entries,
    pending: Vec<(usize, Naming)>,
}

/// A recorded workload, replayed up to some step.
#[derive(Clone, Debug)]
pub struct Recorded {
    steps: Vec<(usize, Step)>,
    next: usize,
    files: Vec<FileState>,
    folders: Vec<FolderState>,
}

impl Recorded {
    /// The steps that calls took in a folder, which was empty or is as `start` has it, all synced.
    ///
    /// # Panics
    /// On a call that the model does not know.
    pub fn new(calls: &[Call], folder: &Path, start: Option<&Path>) -> Recorded {
        let mut recorded =
            Recorded { steps: Vec::new(), next: 0, files: Vec::new(), folders: vec![FolderState::default()] };
        if let Some(start) = start {
            recorded.load(start, 0);
        }
        let root = folder.to_string_lossy();
        let lengths = recorded.files.iter().map(|file| file.synced.len()).collect();
        let folders = recorded.folders.iter().map(|folder| folder.synced.clone()).collect();
        let mut reader = Reader::new(&root, lengths, folders);
        calls.iter().filter(|call| call.result >= 0).for_each(|call| reader.read(call));
        recorded.files.resize_with(reader.lengths.len(), FileState::default);
        for (_, step) in &reader.steps {
            let Step::Names { entries, .. } = step else { continue };
            for (name, node) in entries {
                if let (Some(Node::File(file)), true) = (node, name.starts_with("MANIFEST")) {
                    recorded.files[*file].in_order = true;
                }
            }
        }
        recorded.folders.resize_with(reader.folders.len(), FolderState::default);
        recorded.steps = reader.steps;
        recorded
    }

    fn load(&mut self, path: &Path, folder: usize) {
        for entry in fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry")) {
            let node = if entry.path().is_dir() {
                self.folders.push(FolderState::default());
                let inside = self.folders.len() - 1;
                self.load(&entry.path(), inside);
                Node::Folder(inside)
            } else {
                let synced = fs::read(entry.path()).expect("a file");
                let in_order = entry.file_name().to_string_lossy().starts_with("MANIFEST");
                self.files.push(FileState { in_order, synced, pending: Vec::new() });
                Node::File(self.files.len() - 1)
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            self.folders[folder].synced.insert(name, node);
        }
    }

    /// Steps that were recorded.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether a step changed a file or a folder.
    pub fn changed_at(&self, step: usize) -> bool {
        self.steps.get(step).is_some_and(|(_, step)| !matches!(step, Step::Sync { .. } | Step::Told(_)))
    }

    /// Syncs among the steps.
    pub fn syncs(&self) -> usize {
        self.steps.iter().filter(|(_, step)| matches!(step, Step::Sync { .. })).count()
    }

    /// Everything that the victim told before step `end`.
    pub fn told(&self, end: usize) -> impl DoubleEndedIterator<Item = &str> {
        self.steps[..end].iter().filter_map(|(_, step)| match step {
            Step::Told(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Replays until `end` steps are done; never goes back.
    pub fn advance(&mut self, end: usize) {
        while self.next < end.min(self.steps.len()) {
            let (line, step) = self.steps[self.next].clone();
            self.next += 1;
            match step {
                Step::Data { file, offset, bytes } => {
                    self.files[file].pending.push((line, Change::Data { offset, bytes }));
                }
                Step::Length { file, length } => {
                    self.files[file].pending.push((line, Change::Length(length)));
                }
                Step::Names { folder, entries } => self.folders[folder].pending.push((line, entries)),
                Step::Sync { node: Node::File(file), began } => self.files[file].sync(began),
                Step::Sync { node: Node::Folder(folder), began } => self.folders[folder].sync(began),
                Step::Told(_) => {}
            }
        }
    }

    /// Writes the folder as the end of the process leaves it: with everything it had written.
    pub fn write_whole(&self, target: &Path) {
        let names: Vec<Entries> = self.folders.iter().map(FolderState::whole).collect();
        write(target, 0, &names, &mut |file| self.files[file].whole());
    }

    /// Writes the folder as a power failure may leave it.
    pub fn write_after_power_loss(&self, target: &Path, model: &mut CrashModel) {
        let names = model.names(&self.folders);
        write(target, 0, &names, &mut |file| model.data(&self.files[file]));
    }
}

impl FileState {
    fn sync(&mut self, began: usize) {
        let (covered, rest) =
            std::mem::take(&mut self.pending).into_iter().partition(|(line, _)| *line < began);
        self.pending = rest;
        let covered: Vec<(usize, Change)> = covered;
        covered.iter().for_each(|(_, change)| change.apply(&mut self.synced));
    }

    fn whole(&self) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        self.pending.iter().for_each(|(_, change)| change.apply(&mut bytes));
        bytes
    }
}

impl FolderState {
    fn sync(&mut self, began: usize) {
        let (covered, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|(line, _)| *line < began);
        self.pending = rest;
        covered.iter().for_each(|(_, entries)| enter(&mut self.synced, entries));
    }

    fn whole(&self) -> Entries {
        let mut names = self.synced.clone();
        self.pending.iter().for_each(|(_, entries)| enter(&mut names, entries));
        names
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Data { offset, bytes } => put(file, *offset, bytes),
            Change::Length(length) => file.resize(*length, 0),
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn write(target: &Path, folder: usize, names: &[Entries], data: &mut dyn FnMut(usize) -> Vec<u8>) {
    fs::create_dir_all(target).expect("a folder");
    for (name, node) in &names[folder] {
        match node {
            Node::Folder(inside) => write(&target.join(name), *inside, names, data),
            Node::File(_) if name.starts_with("LOG") => {}
            Node::File(file) => fs::write(target.join(name), data(*file)).expect("a file"),
        }
    }
}
