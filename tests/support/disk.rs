//! A model of a disk: from the calls of a recorded workload to what a power failure may leave.
//!
//! # What the model promises
//! - `fsync` and `fdatasync` of a file: every write to it and change of its length that had returned
//!   when the sync began is there after a power failure, whatever name the file has by then. Nothing
//!   is promised about its name.
//! - `fsync` of a folder: every entry that was made, renamed or removed in it before the sync began is
//!   as it was then.
//! - A rename is atomic: never is neither name there, never both.
//! - Bytes that were synced are not harmed by later writes to other bytes or to other files.
//!
//! # What it does not promise
//! Whatever was not synced may be there, not there, or partly there, each file and each folder for
//! itself and in any order: writes are torn at any byte, or each of their sectors of 512 or 4096
//! bytes is lost or kept; a file may have grown without its bytes, which are then zeros or garbage.
//! Entries of folders are lost or kept one by one, or the oldest are kept as a journal keeps them.
//!
//! One file gets an easier disk: what was appended to RocksDB's `MANIFEST` is kept up to some byte.
//! RocksDB refuses a manifest with bytes at its end that were never written, though nothing is lost, so
//! the database assumes a file system on which a file that grows does not show such bytes: ext4 in its
//! usual mode, XFS, Btrfs and APFS are.
//!
//! RocksDB's own log of events (`LOG`), which nothing reads, is left out.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::strace::Call;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder(usize),
}

/// A step of the recorded workload.
#[derive(Clone, Debug)]
enum Step {
    Data {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    Length {
        file: usize,
        length: usize,
    },
    Names {
        folder: usize,
        entries: Naming,
    },
    /// Covers what had returned before the line on which the sync began.
    Sync {
        node: Node,
        began: usize,
    },
    /// The victim told something.
    Told(String),
}

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

/// All names in a folder.
type Entries = BTreeMap<String, Node>;
/// Names that come to stand for something, or for nothing, in one step.
type Naming = Vec<(String, Option<Node>)>;

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

/// An open file of the traced process.
#[derive(Clone, Copy)]
struct Open {
    node: Node,
    offset: usize,
    append: bool,
}

/// Reads calls in the order in which they returned.
struct Reader<'r> {
    root: &'r str,
    steps: Vec<(usize, Step)>,
    lengths: Vec<usize>,
    folders: Vec<Entries>,
    open: HashMap<i64, Open>,
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
        let mut reader = Reader {
            root: &root,
            steps: Vec::new(),
            lengths: recorded.files.iter().map(|file| file.synced.len()).collect(),
            folders: recorded.folders.iter().map(|folder| folder.synced.clone()).collect(),
            open: HashMap::new(),
        };
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

fn enter(names: &mut Entries, entries: &[(String, Option<Node>)]) {
    for (name, node) in entries {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
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

    fn names(&mut self, folders: &[FolderState]) -> Vec<Entries> {
        let mut all: Vec<(usize, usize, &Naming)> = Vec::new();
        for (folder, state) in folders.iter().enumerate() {
            all.extend(state.pending.iter().map(|(line, entries)| (*line, folder, entries)));
        }
        all.sort_by_key(|(line, _, _)| *line);
        if self.random.random_bool(0.5) {
            let kept = self.below(all.len() + 1);
            all.truncate(kept);
        } else {
            let chance = self.chance();
            all.retain(|_| self.random.random_bool(chance));
        }
        let mut names: Vec<Entries> = folders.iter().map(|folder| folder.synced.clone()).collect();
        all.into_iter().for_each(|(_, folder, entries)| enter(&mut names[folder], entries));
        names
    }

    fn data(&mut self, file: &FileState) -> Vec<u8> {
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

impl Reader<'_> {
    fn push(&mut self, call: &Call, step: Step) {
        self.steps.push((call.ended, step));
    }

    /// The folder and name of a path below the root.
    fn place(&self, path: &str) -> Option<(usize, String)> {
        let inside = path.strip_prefix(self.root)?.strip_prefix('/')?;
        let mut parts: Vec<&str> = inside.split('/').filter(|part| !part.is_empty()).collect();
        let name = parts.pop()?;
        let mut folder = 0;
        for part in parts {
            match self.folders[folder].get(part) {
                Some(Node::Folder(inside)) => folder = *inside,
                _ => return None,
            }
        }
        Some((folder, name.to_owned()))
    }

    fn enter(&mut self, call: &Call, folder: usize, entries: Naming) {
        enter(&mut self.folders[folder], &entries);
        self.push(call, Step::Names { folder, entries });
    }

    fn read(&mut self, call: &Call) {
        match call.name.as_str() {
            "openat" => self.open(call, call.path(1), call.text(2)),
            "open" => self.open(call, call.path(0), call.text(1)),
            "creat" => self.open(call, call.path(0), "O_CREAT|O_TRUNC"),
            "close" => drop(self.open.remove(&call.number(0))),
            "dup" | "dup2" | "dup3" | "fcntl" => self.duplicate(call),
            "lseek" => {
                if let Some(open) = self.open.get_mut(&call.number(0)) {
                    open.offset = call.result as usize;
                }
            }
            "write" => self.write(call, None),
            "pwrite64" => self.write(call, Some(call.number(3) as usize)),
            "writev" if !self.open.contains_key(&call.number(0)) => {
                let text = String::from_utf8_lossy(&call.bytes(1)).into_owned();
                text.lines().for_each(|line| self.push(call, Step::Told(line.to_owned())));
            }
            "ftruncate" => {
                if let Some(Node::File(file)) = self.open.get(&call.number(0)).map(|open| open.node) {
                    self.resize(call, file, call.number(1) as usize);
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(open) = self.open.get(&call.number(0)) {
                    let node = open.node;
                    self.push(call, Step::Sync { node, began: call.began });
                }
            }
            "mkdir" => self.mkdir(call, &call.path(0)),
            "mkdirat" => self.mkdir(call, &call.path(1)),
            "rename" => self.rename(call, &call.path(0), &call.path(1)),
            "renameat" | "renameat2" => self.rename(call, &call.path(1), &call.path(3)),
            "link" => self.link(call, &call.path(0), &call.path(1)),
            "linkat" => self.link(call, &call.path(1), &call.path(3)),
            "unlink" | "rmdir" => self.unlink(call, &call.path(0)),
            "unlinkat" => self.unlink(call, &call.path(1)),
            // Space only: RocksDB keeps the size.
            "fallocate" => assert!(
                call.text(1).contains("KEEP_SIZE") || !self.open.contains_key(&call.number(0)),
                "the model knows no {call:?}"
            ),
            "sync_file_range" => {}
            other => {
                let ours = (0..2).any(|index| {
                    call.text(index).parse().is_ok_and(|descriptor: i64| self.open.contains_key(&descriptor))
                });
                assert!(!ours, "the model knows no {other}");
            }
        }
    }

    fn open(&mut self, call: &Call, path: String, flags: &str) {
        self.open.remove(&call.result);
        if path == self.root {
            self.open.insert(call.result, Open { node: Node::Folder(0), offset: 0, append: false });
            return;
        }
        let Some((folder, name)) = self.place(&path) else { return };
        let node = match self.folders[folder].get(&name) {
            Some(node) => *node,
            None => {
                let node = Node::File(self.lengths.len());
                self.lengths.push(0);
                self.enter(call, folder, vec![(name, Some(node))]);
                node
            }
        };
        if let (Node::File(file), true) = (node, flags.contains("O_TRUNC"))
            && self.lengths[file] > 0
        {
            self.resize(call, file, 0);
        }
        self.open.insert(call.result, Open { node, offset: 0, append: flags.contains("O_APPEND") });
    }

    fn duplicate(&mut self, call: &Call) {
        if call.name == "fcntl" && !call.text(1).starts_with("F_DUPFD") {
            return;
        }
        if let Some(open) = self.open.get(&call.number(0)).copied() {
            self.open.insert(call.result, open);
        }
    }

    fn write(&mut self, call: &Call, at: Option<usize>) {
        let Some(open) = self.open.get_mut(&call.number(0)) else { return };
        let Node::File(file) = open.node else { return };
        let written = call.result as usize;
        let offset = match at {
            Some(at) => at,
            None if open.append => self.lengths[file],
            None => open.offset,
        };
        if at.is_none() {
            open.offset = offset + written;
        }
        self.lengths[file] = self.lengths[file].max(offset + written);
        let mut bytes = call.bytes(1);
        bytes.truncate(written);
        assert_eq!(bytes.len(), written, "the trace cut {call:?}");
        self.push(call, Step::Data { file, offset, bytes });
    }

    fn resize(&mut self, call: &Call, file: usize, length: usize) {
        self.lengths[file] = length;
        self.push(call, Step::Length { file, length });
    }

    fn mkdir(&mut self, call: &Call, path: &str) {
        let Some((folder, name)) = self.place(path) else { return };
        self.folders.push(Entries::new());
        let node = Node::Folder(self.folders.len() - 1);
        self.enter(call, folder, vec![(name, Some(node))]);
    }

    fn rename(&mut self, call: &Call, from: &str, to: &str) {
        let (Some((folder, from)), Some((target, to))) = (self.place(from), self.place(to)) else { return };
        assert_eq!(folder, target, "the model knows renames within a folder");
        let node = self.folders[folder].get(&from).copied();
        self.enter(call, folder, vec![(from, None), (to, node)]);
    }

    fn link(&mut self, call: &Call, from: &str, to: &str) {
        let (Some((source, from)), Some((folder, to))) = (self.place(from), self.place(to)) else { return };
        let node = self.folders[source].get(&from).copied();
        self.enter(call, folder, vec![(to, node)]);
    }

    fn unlink(&mut self, call: &Call, path: &str) {
        if let Some((folder, name)) = self.place(path) {
            self.enter(call, folder, vec![(name, None)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(steps: Vec<Step>) -> Recorded {
        Recorded {
            steps: steps.into_iter().enumerate().collect(),
            next: 0,
            files: vec![FileState::default(); 2],
            folders: vec![FolderState::default()],
        }
    }

    fn name(name: &str, file: usize) -> Step {
        Step::Names { folder: 0, entries: vec![(name.to_owned(), Some(Node::File(file)))] }
    }

    fn data(bytes: &[u8]) -> Step {
        Step::Data { file: 0, offset: 0, bytes: bytes.to_vec() }
    }

    /// All contents of `a` that many failures leave, `None` for no such file.
    fn outcomes(recorded: &Recorded) -> std::collections::BTreeSet<Option<Vec<u8>>> {
        let folder = tempfile::tempdir().expect("a folder");
        (0..300)
            .map(|seed| {
                let target = folder.path().join(seed.to_string());
                recorded.write_after_power_loss(&target, &mut CrashModel::new(seed));
                fs::read(target.join("a")).ok()
            })
            .collect()
    }

    #[test]
    fn what_was_not_synced_may_be_lost_and_what_was_is_not() {
        let began = 2;
        let steps = vec![
            name("a", 0),
            data(b"xy"),
            Step::Sync { node: Node::File(0), began },
            Step::Sync { node: Node::Folder(0), began: 3 },
            data(b"z"),
        ];
        let mut disk = recorded(steps);
        disk.advance(2);
        let found = outcomes(&disk);
        for expected in [None, Some(vec![]), Some(b"x".to_vec()), Some(b"xy".to_vec()), Some(vec![0, 0])] {
            assert!(found.contains(&expected), "{expected:?}");
        }
        disk.advance(3);
        assert_eq!(outcomes(&disk), [None, Some(b"xy".to_vec())].into());
        disk.advance(4);
        assert_eq!(outcomes(&disk), [Some(b"xy".to_vec())].into());
        disk.advance(5);
        assert_eq!(outcomes(&disk), [Some(b"xy".to_vec()), Some(b"zy".to_vec())].into());
    }

    #[test]
    fn a_sync_does_not_cover_what_returned_after_it_began() {
        let mut disk =
            recorded(vec![name("a", 0), data(b"xy"), Step::Sync { node: Node::File(0), began: 1 }]);
        disk.advance(3);
        assert!(outcomes(&disk).contains(&Some(vec![])));
    }
}
