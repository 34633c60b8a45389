//! Row 1: writers killed with SIGKILL at random moments.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinbit_storage::Durability;
use twinbit_tests::{ACKNOWLEDGED, Contents, Row, Workload, last_acknowledged, scratch, size};

use crate::recording::victim;

/// Kills that a database suffers before a new one takes its place.
const KILLS_A_DATABASE: u64 = 50;

/// Commits wait for the disk in every other round.
fn durability(round: u64) -> Durability {
    if round.is_multiple_of(2) { Durability::Immediate } else { Durability::Eventual }
}

/// Runs the victim until some commits from now and a moment more; returns the last acknowledged one.
fn kill_once(folder: &Path, round: u64) -> u64 {
    let mut random = ChaCha8Rng::seed_from_u64(round);
    let mut victim = victim("kills", folder, durability(round))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let enough = random.random_range(1..30);
    let mut told: Vec<String> =
        lines.by_ref().filter(|line| line.starts_with(ACKNOWLEDGED)).take(enough).collect();
    assert_eq!(told.len(), enough, "round {round}: the victim ended by itself");
    std::thread::sleep(Duration::from_micros(random.random_range(0..3000)));
    victim.kill().unwrap();
    victim.wait().unwrap();
    // What it said before it died counts, too.
    told.extend(lines);
    last_acknowledged(&told.join("\n")).unwrap()
}

/// Kills the writers of one database again and again; returns the acknowledged commits.
fn torment(first_round: u64, rounds: u64) -> u64 {
    let folder = scratch();
    let mut known = (0, Contents::new());
    for round in first_round..first_round + rounds {
        let acknowledged = kill_once(folder.path(), round);
        let workload = Workload::wide(durability(round));
        let store = workload.open(folder.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let found =
            workload.check(&store, &mut known).unwrap_or_else(|wrong| panic!("round {round}: {wrong}"));
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {found} commits are there, {acknowledged} were acknowledged"
        );
    }
    known.0
}

#[test]
fn killed_writers_lose_nothing_they_acknowledged() {
    let row = Row::begin(1, "kill -9 at random moments");
    let kills = size("KILLS", 200, 10_000);
    let (next, commits) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(KILLS_A_DATABASE, Ordering::Relaxed);
                    let rounds = kills.saturating_sub(first).min(KILLS_A_DATABASE);
                    if rounds == 0 {
                        return;
                    }
                    commits.fetch_add(torment(first, rounds), Ordering::Relaxed);
                }
            });
        }
    });
    let figures =
        format!("{} commits, 0 lost, 0 phantom, verify clean after each kill", commits.into_inner());
    row.passed(&format!("{kills} kills"), &figures);
}
