//! Ctrl-C while a command runs.
#![cfg(unix)]

mod support;

use support::*;

#[test]
fn an_interrupt_ends_training_and_leaves_everything_as_it_was() {
    let place = trained();
    let before = place.json("stats a.db")[0]["model"].clone();
    let line = TRAIN.replace("--epochs 12", "--epochs 1000000");
    let message = place.interrupted(&format!("{line} --json"));
    assert!(message.contains("interrupted"), "{message}");
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
    interrupt(&child);
    drop(pipe);
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}
