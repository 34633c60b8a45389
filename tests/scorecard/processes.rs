//! Row 10: several processes at one database.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use twinbit_storage::{Durability, Error, Store, StoreOptions};
use twinbit_tests::{ACKNOWLEDGED, READY, Row, Workload, scratch, size};

use crate::recording::{victim, victim_as};

#[test]
fn a_second_writer_is_refused_and_a_stale_lock_is_not_in_the_way() {
    let row = Row::begin(10, "two writers, a stale lock");
    let folder = scratch();
    let open = || Store::open(folder.path(), StoreOptions::default());
    let mut holder = victim_as("hold", folder.path(), "immediate")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == READY));
    let refused = open().err().unwrap();
    assert!(matches!(&refused, Error::Locked { pid, .. } if *pid == Some(holder.id())), "{refused}");
    assert!(refused.is_retryable() && refused.to_string().contains(&holder.id().to_string()), "{refused}");
    // Reading goes on beside the writer.
    Store::open_read_only(folder.path(), StoreOptions::default()).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    // The lock file still names the dead process.
    let stale = fs::read_to_string(folder.path().join("LOCK")).unwrap();
    assert_eq!(stale.trim(), holder.id().to_string());
    let store = open().unwrap();
    assert!(matches!(open(), Err(Error::Locked { pid, .. }) if pid == Some(std::process::id())));
    drop(store);
    fs::write(folder.path().join("LOCK"), "not a number").unwrap();
    drop(open().unwrap());
    row.passed("2 processes", "the second writer is told the process; the lock of a killed process is free");
}

/// What a reader sees is some commit, whole, and never an earlier one than before.
#[test]
fn a_reader_in_another_process_sees_whole_commits_in_their_order() {
    let row = Row::begin(10, "a reader beside a writing process");
    let reads = size("PROCESS_READS", 25, 500);
    let folder = scratch();
    let workload = Workload::wide(Durability::Eventual);
    workload.collection(&workload.open(folder.path()).unwrap()).unwrap();
    let mut writer =
        victim("paced", folder.path(), Durability::Eventual).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut acknowledged = lines.filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse::<u64>().ok());
    let reader = Store::open_read_only(folder.path(), StoreOptions::default()).unwrap();
    let mut known = (0, workload.contents(0));
    workload.follow(&reader, &mut known).unwrap();
    let mut versions = 0;
    for _ in 0..reads {
        let (before, committed) = (known.0, acknowledged.next().expect("the writer ended"));
        // A handle stays where it is until it is told to go on; then it sees what was acknowledged.
        assert_eq!(workload.commits(&reader).unwrap(), before);
        reader.refresh().unwrap();
        workload.follow(&reader, &mut known).unwrap();
        assert!(known.0 >= committed, "commit {committed} was acknowledged, {} is the last seen", known.0);
        versions += u64::from(known.0 > before);
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    row.passed(
        &format!("{reads} refreshes"),
        &format!("{versions} later commits seen, up to {}, all whole", known.0),
    );
}
