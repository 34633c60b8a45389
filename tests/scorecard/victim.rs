//! The process that the scorecard kills, traces and lets calls fail in.
//!
//! A program of its own and no test that is run again: whatever it asks of the system is the
//! workload's, on a thread of the workload's, as strace counts the calls of each thread for itself.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use twinbit::{
    Array, ArraySource, CodeBits, Database, DecodeLimits, Filter, IdKind, ImageEncoding, PairsSource,
    ParquetSource, Picture, Schema, TextEncoding, WebDatasetSource,
};
use twinbit_hashing::HashModel;
use twinbit_storage::{CollectionId, Durability, Error, ReadMode, Store, StoreOptions};
use twinbit_tests::{ACKNOWLEDGED, BROKEN, COMMITS, COMPLETE, FAILED, READY, SPARE_CALLS, Workload, tell};

/// After these commits the victim of a recording closes the database and opens it again.
const REOPENED: [u64; 2] = [4, 9];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, mode, folder, how] = arguments.as_slice() else {
        panic!(
            "usage: victim kills|paced|recording|faults|read|hold|hostile FOLDER immediate|eventual|mapped|read|FILE"
        );
    };
    let (mode, folder, how) = (mode.clone(), PathBuf::from(folder), how.clone());
    let work = std::thread::spawn(move || {
        for _ in 0..SPARE_CALLS {
            drop(File::open("/dev/null"));
        }
        run(&mode, &folder, &how)
    });
    match work.join() {
        Ok(Ok(())) => {}
        Ok(Err(wrong)) => tell(&format!("{BROKEN}{wrong}")),
        Err(_) => std::process::exit(101),
    }
}

fn run(mode: &str, folder: &Path, how: &str) -> Result<(), String> {
    let durability = if how == "eventual" { Durability::Eventual } else { Durability::Immediate };
    match mode {
        "kills" => commit_for_ever(folder, Workload::wide(durability), Duration::ZERO),
        "paced" => commit_for_ever(folder, Workload::wide(durability), Duration::from_millis(4)),
        "recording" => commit_all(folder, Workload::small(durability)),
        "faults" => commit_despite_faults(folder, Workload::small(durability)),
        "read" => read_when_told(folder, if how == "read" { ReadMode::Read } else { ReadMode::Mapped }),
        "hold" => hold(folder),
        "hostile" => read_hostile(folder, how),
        other => Err(format!("no mode {other}")),
    }
}

fn say(error: Error) -> String {
    error.to_string()
}

/// Commits until the process is killed, with a pause after each.
fn commit_for_ever(folder: &Path, workload: Workload, pause: Duration) -> Result<(), String> {
    let store = workload.open(folder).map_err(say)?;
    let id = workload.collection(&store).map_err(say)?;
    for number in workload.commits(&store).map_err(say)? + 1.. {
        workload.step(&store, id, number).map_err(say)?;
        tell(&format!("{ACKNOWLEDGED}{number}"));
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Goes on with the workload where the database is, up to its end.
fn commit_all(folder: &Path, workload: Workload) -> Result<(), String> {
    let mut store = workload.open(folder).map_err(say)?;
    let mut id = workload.collection(&store).map_err(say)?;
    let done = workload.commits(&store).map_err(say)?;
    tell(&format!("{ACKNOWLEDGED}{done}"));
    for number in done + 1..=COMMITS {
        workload.step(&store, id, number).map_err(say)?;
        tell(&format!("{ACKNOWLEDGED}{number}"));
        if REOPENED.contains(&number) {
            drop(store);
            store = workload.open(folder).map_err(say)?;
            id = workload.collection(&store).map_err(say)?;
        }
    }
    drop(store);
    tell(COMPLETE);
    Ok(())
}

/// Goes on with the workload while a call fails: reads after a failure, tries again, reopens where it
/// must. An `Err` is a broken promise.
fn commit_despite_faults(folder: &Path, workload: Workload) -> Result<(), String> {
    let mut acknowledged = 0;
    // One call of this thread fails and one of each of the catalog's, so that a later attempt succeeds.
    for _ in 0..5 {
        match open(folder, &workload) {
            Ok((store, id)) => {
                let found = workload.commits(&store).map_err(say)?;
                if found < acknowledged || found > acknowledged + 1 {
                    return Err(format!("{found} commits are there, {acknowledged} were acknowledged"));
                }
                acknowledged = found;
                tell(&format!("{ACKNOWLEDGED}{acknowledged}"));
                if go_on(&workload, &store, id, &mut acknowledged)? {
                    drop(store);
                    tell(COMPLETE);
                    return Ok(());
                }
            }
            Err(error) => tell(&format!("{FAILED}{error}")),
        }
    }
    Err("writing does not recover".to_owned())
}

fn open(folder: &Path, workload: &Workload) -> Result<(Store, CollectionId), Error> {
    let store = workload.open(folder)?;
    let id = workload.collection(&store)?;
    Ok((store, id))
}

/// Commits the rest; `false` when the database has to be reopened.
fn go_on(
    workload: &Workload,
    store: &Store,
    id: CollectionId,
    acknowledged: &mut u64,
) -> Result<bool, String> {
    while *acknowledged < COMMITS {
        let number = *acknowledged + 1;
        if let Err(error) = workload.step(store, id, number) {
            tell(&format!("{FAILED}{error}"));
            let expected = workload.contents(*acknowledged);
            workload
                .compare(store, *acknowledged, &expected)
                .map_err(|wrong| format!("after \"{error}\" reading goes wrong: {wrong}"))?;
            let is_commit = matches!(&error, Error::Catalog { operation: "commit", .. });
            match workload.step(store, id, number) {
                Err(Error::Poisoned { .. }) => return Ok(false),
                other if is_commit => {
                    return Err(format!("after \"{error}\" the next write was not refused: {other:?}"));
                }
                Err(_) => return Ok(false),
                Ok(()) => {}
            }
        }
        *acknowledged = number;
        tell(&format!("{ACKNOWLEDGED}{number}"));
    }
    Ok(true)
}

/// Waits for a line on the standard input.
fn wait() {
    tell(READY);
    // Its end is as good.
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Opens the database, and reads everything once it is told to.
fn read_when_told(folder: &Path, read_mode: ReadMode) -> Result<(), String> {
    let workload = Workload::wide(Durability::Immediate);
    let store = Store::open(folder, StoreOptions { read_mode, ..workload.options() }).map_err(say)?;
    let number = workload.commits(&store).map_err(say)?;
    let expected = workload.contents(number);
    wait();
    match workload.compare(&store, number, &expected) {
        Ok(()) => tell(COMPLETE),
        Err(wrong) => tell(&format!("{FAILED}{wrong}")),
    }
    Ok(())
}

/// Has the database open for writing until it is told to end.
fn hold(folder: &Path) -> Result<(), String> {
    let _store = Workload::wide(Durability::Immediate).open(folder).map_err(say)?;
    wait();
    Ok(())
}

/// Reads a file as what its ending says; tells an error, or that there was none.
fn read_hostile(folder: &Path, name: &str) -> Result<(), String> {
    let path = folder.join(name);
    let outcome = match path.extension().and_then(|ending| ending.to_str()) {
        Some("png") => fs::read(&path).map_err(|error| error.to_string()).and_then(|bytes| {
            Picture::decode(&bytes, &DecodeLimits::default()).map(|_| ()).map_err(|error| error.to_string())
        }),
        Some("safetensors") => fs::read(&path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| HashModel::from_bytes(&bytes).map(|_| ()).map_err(|error| error.to_string())),
        Some("mat") => Array::open(&path).map(|_| ()).map_err(|error| error.to_string()),
        Some("filter") => fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| Filter::parse(&text).map(|_| ()).map_err(|error| error.to_string())),
        _ => ingest(folder, &path).map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => tell(COMPLETE),
        Err(error) => tell(&format!("{FAILED}{error}")),
    }
    Ok(())
}

fn ingest(folder: &Path, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let builder = Database::builder().durability(Durability::Eventual).threads(2);
    let database = builder.open(folder.join("db"))?;
    let ending = path.extension().and_then(|ending| ending.to_str());
    let schema = Schema::new(CodeBits::B16).text_encoder(TextEncoding::Ngram);
    let schema = match ending {
        Some("npy") => schema.image_features(2),
        _ => schema.ids(IdKind::Str).image_encoder(ImageEncoding::EfficientNetLite0),
    };
    let collection = database.create_collection("things", schema)?;
    let report = match ending {
        Some("npy") => collection.ingest(ArraySource::new().image(Array::open(path)?)).run()?,
        Some("parquet") => collection.ingest(ParquetSource::new([path])).run()?,
        Some("tar") => collection.ingest(WebDatasetSource::new([path])).run()?,
        _ => collection.ingest(PairsSource::new(path)).run()?,
    };
    tell(&format!("{} records", report.ingested));
    Ok(())
}
