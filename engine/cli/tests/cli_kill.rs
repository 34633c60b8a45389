//! `twinbit ingest`, killed with SIGKILL in the middle: what it committed is there, the database
//! opens, and a second run finishes the rest.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use support::*;

/// Rows of the source, more than four commits of a little over 250,000.
const ROWS: u64 = 1_100_000;
const COMMIT: u64 = 250_000;

#[test]
fn an_ingest_killed_in_the_middle_keeps_its_commits_and_goes_on() {
    let place = Place::new();
    let codes: Vec<u8> =
        (0..ROWS).flat_map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    place.write("codes.npy", npy_u8(8, &codes));
    let ids: String = (0..ROWS).map(|row| format!("{}\n", row * 3)).collect();
    place.write("ids.txt", ids);
    place.ok("create a.db --bits 64 --ids u64 --external-codes");
    let ingest = "ingest a.db --codes image=codes.npy --ids ids.txt";

    let mut child = place.command(ingest).stdout(std::process::Stdio::null()).spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    let rows = || place.json("stats a.db")[0]["rows"].as_u64().unwrap();
    while rows() < COMMIT {
        assert!(Instant::now() < give_up && child.try_wait().unwrap().is_none(), "it never committed");
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let kept = rows();
    assert!((COMMIT..ROWS).contains(&kept), "{kept} rows");
    place.ok("verify a.db");
    let last = (kept - 1) * 3;
    assert_eq!(place.json(&format!("get a.db {last}"))[0]["id"], last);
    place.fails(&format!("get a.db {}", kept * 3));

    let report = &place.json(ingest)[0];
    assert_eq!(report["ingested"], ROWS - kept, "{report}");
    assert_eq!(rows(), ROWS);
    place.ok("verify a.db");
}
