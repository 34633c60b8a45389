//! Ctrl-C while a command runs.
#![cfg(unix)]

mod support;

use support::*;

#[test]
fn an_interrupt_ends_training_and_leaves_everything_as_it_was() {
    let place = trained();
    let before = place.json("stats a.db")[0]["model"].clone();
    let mut child = place
        .command(&TRAIN.replace("--epochs 12", "--epochs 1000000"))
        .args(["--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut first).unwrap();
    assert!(first.starts_with("{\"epoch\":1,"), "{first}");
    let interrupted =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    std::io::Read::read_to_string(&mut lines, &mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("interrupted"), "{}", text(&output.stderr));
    assert_eq!(place.json("stats a.db")[0]["model"], before);
}

/// A command that never asks whether to stop is ended by the first Ctrl-C.
#[test]
fn an_interrupt_ends_other_commands_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let place = trained();
    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe.npy")).status().unwrap().success());
    let eval = "eval a.db --image pipe.npy --text text.npy --label label.npy --database-label label.npy";
    let mut child = place.command(eval).stderr(std::process::Stdio::null()).spawn().unwrap();
    // Opens once the program has it open as well, which then waits for what never comes.
    let pipe = std::fs::OpenOptions::new().write(true).open(place.path("pipe.npy")).unwrap();
    let interrupted =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    drop(pipe);
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}
