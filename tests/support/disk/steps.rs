//! From the calls of a traced process to the steps in which it changed files and folders.

use std::collections::{BTreeMap, HashMap};

use crate::strace::Call;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(usize),
    Folder(usize),
}

/// A step of the recorded workload.
#[derive(Clone, Debug)]
pub(super) enum Step {
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

/// All names in a folder.
pub(super) type Entries = BTreeMap<String, Node>;
/// Names that come to stand for something, or for nothing, in one step.
pub(super) type Naming = Vec<(String, Option<Node>)>;

pub(super) fn enter(names: &mut Entries, entries: &[(String, Option<Node>)]) {
    for (name, node) in entries {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}

/// An open file of the traced process.
#[derive(Clone, Copy)]
struct Open {
    node: Node,
    offset: usize,
    append: bool,
}

/// Reads calls in the order in which they returned.
pub(super) struct Reader<'r> {
    root: &'r str,
    pub(super) steps: Vec<(usize, Step)>,
    pub(super) lengths: Vec<usize>,
    pub(super) folders: Vec<Entries>,
    open: HashMap<i64, Open>,
}

impl<'r> Reader<'r> {
    /// A reader of calls below the folder `root`, which holds files of these lengths and folders with
    /// these names.
    pub(super) fn new(root: &'r str, lengths: Vec<usize>, folders: Vec<Entries>) -> Self {
        Reader { root, steps: Vec::new(), lengths, folders, open: HashMap::new() }
    }

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

    pub(super) fn read(&mut self, call: &Call) {
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
