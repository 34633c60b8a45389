//! What the disk does by itself, and what files and processes take.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;

/// The type of the file system that holds a path, and its device.
pub(crate) fn file_system(path: &Path) -> String {
    let Ok(path) = path.canonicalize() else { return "unknown".to_owned() };
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, folder, kind) = (words.next()?, words.next()?, words.next()?);
        path.starts_with(folder).then(|| (folder.len(), format!("{kind} on {device}")))
    });
    // Of nested mounts the deepest one counts, and of those in one place the last.
    mounts.max_by_key(|(depth, _)| *depth).map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

/// Writes the bytes so many times into a new file, syncs it, and removes it.
pub(crate) fn write_and_sync(folder: &Path, bytes: &[u8], times: usize) -> Outcome<Duration> {
    let path = folder.join("raw");
    let started = Instant::now();
    let mut file = File::create(&path)?;
    for _ in 0..times {
        for piece in bytes.chunks(1 << 20) {
            file.write_all(piece)?;
        }
    }
    file.sync_all()?;
    let time = started.elapsed();
    fs::remove_file(path)?;
    Ok(time)
}

/// Appends a record so many times to a new file, with an fdatasync after each, and removes it.
pub(crate) fn append_and_sync(folder: &Path, bytes: usize, times: usize) -> Outcome<Duration> {
    let path = folder.join("appended");
    let mut file = File::create(&path)?;
    let record = vec![0xa5; bytes];
    let started = Instant::now();
    for _ in 0..times {
        file.write_all(&record)?;
        file.sync_data()?;
    }
    let time = started.elapsed();
    fs::remove_file(path)?;
    Ok(time)
}

/// Bytes that a folder's files take on the disk, in whole blocks.
pub(crate) fn folder_bytes(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => folder_bytes(&entry.path())?,
            false => metadata.blocks() * 512,
        };
    }
    Ok(bytes)
}

/// Bytes in the write-ahead logs of a database's catalog.
pub(crate) fn log_bytes(database: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(database.join("catalog"))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "log") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Private memory of this process in KiB: anonymous pages, not those of mapped files.
pub(crate) fn private_kib() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
