//! Runs the real binary in a folder of its own, on small arrays and pictures made here.

#![allow(dead_code, unreachable_pub, reason = "each test target uses a part")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Pairs of the small data set, its classes, and the widths of its features.
pub const PAIRS: usize = 96;
pub const CLASSES: usize = 4;
pub const IMAGE_WIDTH: usize = 12;
pub const TEXT_WIDTH: usize = 16;

/// A folder in which commands run.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program with these arguments, split at spaces; `~` in an argument stands for a space.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinbit"));
        command.args(arguments(line)).current_dir(self.folder.path());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs a command under limits that the shell sets first.
    pub fn limited(&self, limits: &str, line: &str) -> Output {
        let program = self.command(line);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]);
        shell.arg(program.get_program()).args(program.get_args());
        shell.current_dir(self.folder.path()).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "twinbit {line}\n{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The JSON lines of a command that must succeed: every line must be an object.
    pub fn json(&self, line: &str) -> Vec<Value> {
        json_lines(&self.ok(&format!("{line} --json")))
    }

    /// The message of a command that must fail with exit code 1 and print no results.
    pub fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "twinbit {line}\n{message}");
        assert!(message.starts_with("error: ") || message.contains("\nerror: "), "twinbit {line}\n{message}");
        assert!(!message.contains("panicked"), "{message}");
        message
    }

    /// Interrupts a training command, which prints JSON, after its first epoch; gives what it complains of.
    #[cfg(unix)]
    pub fn interrupted(&self, line: &str) -> String {
        let mut child = self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut printed).unwrap();
        assert!(printed.starts_with("{\"epoch\":1,"), "{printed}");
        interrupt(&child);
        lines.read_to_string(&mut printed).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    }

    /// The message of a command that must be refused as wrong usage, with exit code 2.
    pub fn misused(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(2), "twinbit {line}\n{}", text(&output.stderr));
        text(&output.stderr)
    }
}

/// Sends what Ctrl-C does.
#[cfg(unix)]
pub fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

pub fn arguments(line: &str) -> Vec<String> {
    line.split_whitespace().map(|argument| argument.replace('~', " ")).collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn json_lines(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .inspect(|value| assert!(value.is_object(), "{value}"))
        .collect()
}

/// An array as numpy saves it.
pub fn npy(description: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{description}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

pub fn npy_f32(width: usize, values: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy("<f4", &format!("({}, {width})", values.len() / width), &data)
}

pub fn npy_u8(width: usize, values: &[u8]) -> Vec<u8> {
    npy("|u1", &format!("({}, {width})", values.len() / width), values)
}

/// Numbers from 0 up to 1 that are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }
}

/// Features of pair `row`: those of its class (row modulo classes) and noise.
pub fn image_features(rows: std::ops::Range<usize>) -> Vec<f32> {
    let mut random = Random::new(1 + rows.start as u64);
    let value = |row: usize, column: usize, noise: f32| {
        f32::from(u8::from(column % CLASSES == row % CLASSES)) * 2.0 + noise * 0.4
    };
    rows.flat_map(|row| (0..IMAGE_WIDTH).map(move |column| (row, column)))
        .map(|(row, column)| value(row, column, random.next()))
        .collect()
}

/// A bag of words of pair `row`: most words of its class, few of others.
pub fn text_features(rows: std::ops::Range<usize>) -> Vec<u8> {
    let mut random = Random::new(9 + rows.start as u64);
    rows.flat_map(|row| (0..TEXT_WIDTH).map(move |column| (row, column)))
        .map(|(row, column)| {
            let chance = if column % CLASSES == row % CLASSES { 0.8 } else { 0.1 };
            u8::from(random.next() < chance)
        })
        .collect()
}

pub fn labels(rows: std::ops::Range<usize>) -> Vec<u8> {
    rows.flat_map(|row| (0..CLASSES).map(move |class| u8::from(class == row % CLASSES))).collect()
}

/// Writes the data set: `image.npy`, `text.npy`, `label.npy`, `ids.txt`, `meta.jsonl`, and with `query-`
/// before the names some more pairs.
pub fn write_arrays(place: &Place) {
    for (prefix, rows) in [("", 0..PAIRS), ("query-", PAIRS..PAIRS + 16)] {
        let count = rows.len();
        place.write(&format!("{prefix}image.npy"), npy_f32(IMAGE_WIDTH, &image_features(rows.clone())));
        place.write(&format!("{prefix}text.npy"), npy_u8(TEXT_WIDTH, &text_features(rows.clone())));
        place.write(&format!("{prefix}label.npy"), npy_u8(CLASSES, &labels(rows.clone())));
        let ids: String = (0..count).map(|row| format!("pair-{row}\n")).collect();
        place.write(&format!("{prefix}ids.txt"), ids);
        let line = |row: usize| {
            let lang = if row.is_multiple_of(2) { "en" } else { "de" };
            format!("{{\"year\":{},\"lang\":\"{lang}\"}}\n", 2000 + row)
        };
        place.write(&format!("{prefix}meta.jsonl"), (0..count).map(line).collect::<String>());
    }
}

/// Creates `a.db` for the data set.
pub const CREATE: &str = "create a.db --bits 32 --ids str --image-width 12 --text-width 16 --field year:u64:indexed --field lang:str";
/// Ingests the data set.
pub const INGEST: &str = "ingest a.db --image image.npy --text text.npy --ids ids.txt --fields meta.jsonl";
/// Trains a little on what `a.db` holds.
pub const TRAIN: &str =
    "train a.db --hidden 32 --layers 2 1 --batch 32 --epochs 12 --negatives 32 --lr 0.005 --seed 3";

/// A database that holds the data set and a model.
pub fn trained() -> Place {
    let place = Place::new();
    write_arrays(&place);
    place.ok(CREATE);
    place.ok(INGEST);
    place.ok(TRAIN);
    place
}

/// A plain picture of one color.
pub fn png(color: [u8; 3], side: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(side, side, image::Rgb(color));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Every file below a folder with its content, but for logs that opening alone writes.
pub fn contents(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inside) = folders.pop() {
        for entry in std::fs::read_dir(inside).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                files.insert(path, content);
            }
        }
    }
    files
}
