//! Running a program under `strace`, and reading what it wrote down.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether programs can be traced here.
///
/// # Panics
/// When they cannot although `TWINBIT_REQUIRE_TRACE` is 1, so that CI cannot skip by accident.
pub fn has_strace() -> bool {
    let traced = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let can = traced.is_ok_and(|status| status.success());
    let must = std::env::var_os("TWINBIT_REQUIRE_TRACE").is_some_and(|value| value == "1");
    assert!(can || !must, "strace is missing or may not trace");
    can
}

/// `strace` with options, following all threads of a program.
pub fn strace(options: &[&str], program: &Command) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg("--");
    command.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// A system call that returned.
#[derive(Clone, Debug)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// Its name.
    pub name: String,
    /// What it returned; negative for an error.
    pub result: i64,
    /// The line on which it began.
    pub began: usize,
    /// The line on which it returned.
    pub ended: usize,
    arguments: Vec<String>,
}

impl Call {
    /// An argument as printed; empty when there is none.
    pub fn text(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// An argument as a number.
    ///
    /// # Panics
    /// When it is none.
    pub fn number(&self, index: usize) -> i64 {
        self.text(index)
            .parse()
            .unwrap_or_else(|_| panic!("{} argument {index}: {}", self.name, self.text(index)))
    }

    /// The bytes of an argument that is a string, printed as `"\x00..."`.
    ///
    /// # Panics
    /// When it is none.
    pub fn bytes(&self, index: usize) -> Vec<u8> {
        let text = self.text(index);
        let quoted =
            text.split('"').nth(1).unwrap_or_else(|| panic!("{} argument {index}: {text}", self.name));
        let digit =
            |byte: u8| (byte as char).to_digit(16).unwrap_or_else(|| panic!("no hexadecimal: {text}"));
        let escape = |code: &[u8]| (digit(code[2]) * 16 + digit(code[3])) as u8;
        quoted.as_bytes().chunks_exact(4).map(escape).collect()
    }

    /// A path in an argument.
    pub fn path(&self, index: usize) -> String {
        String::from_utf8_lossy(&self.bytes(index)).into_owned()
    }
}

/// Reads what `strace -f -xx -o FILE` wrote, by the order in which the calls returned.
///
/// But a `close` counts from its beginning: another thread may be given the number of the file again
/// before the call has returned.
///
/// # Panics
/// When the file is not there.
pub fn read_calls(file: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut unfinished: HashMap<&str, (&str, usize)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (begun, number));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((begun, began)) = unfinished.remove(thread) else { continue };
            let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
            calls.extend(parse(thread, &format!("{begun}{end}"), began, number));
        } else {
            calls.extend(parse(thread, rest, number, number));
        }
    }
    calls.sort_by_key(|call: &Call| if call.name == "close" { call.began } else { call.ended });
    calls
}

/// `name(argument, argument) = result ...`; nothing for signals, exits and calls that never returned.
fn parse(thread: &str, line: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let close = rest.rfind(") = ").or_else(|| rest.rfind(')'))?;
    let (arguments, result) = rest.split_at(close);
    let result = result.split_once(" = ")?.1.split_whitespace().next()?;
    let result = match result.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => result.parse().ok()?,
    };
    let arguments = arguments.split(", ").map(str::to_owned).collect();
    Some(Call { thread: thread.parse().ok()?, name: name.to_owned(), result, began, ended, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_whole_and_in_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace");
        let lines = "7  openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT, 0666) = 3\n\
            8  fdatasync(3 <unfinished ...>\n\
            7  write(3, \"\\x00\\xff\", 2)  = 2\n\
            8  <... fdatasync resumed>)       = 0\n\
            7  unlink(\"\\x61\") = -1 ENOENT (No such file or directory)\n\
            7  write(3, \"\\x00\", 1) = ?\n\
            7  +++ exited with 0 +++\n";
        std::fs::write(&path, lines).expect("a file");
        let calls = read_calls(&path);
        let found: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.result)).collect();
        assert_eq!(found, [("openat", 3), ("write", 2), ("fdatasync", 0), ("unlink", -1)]);
        assert_eq!(
            (calls[0].path(1), calls[1].bytes(1), calls[1].number(2)),
            ("/a".to_owned(), vec![0, 255], 2)
        );
        assert_eq!((calls[2].began, calls[2].ended, calls[2].number(0)), (1, 3, 3));
    }
}
