//! The catalog's log, read past damage: which commits it says were on the disk, and what of it RocksDB
//! would misread.
//!
//! RocksDB recovers its log up to the first record that it cannot read. That is right for the end of a
//! log that was never synced, which a power failure may tear in any order. But damage of a record that
//! had been synced looks the same, and the commits from there on would go without a word. So each commit
//! carries a mark: the last commit that was on the disk when it was made. When recovery ends before a
//! commit that a mark in the logs names, synced records cannot be read.
//!
//! Some damage RocksDB (11.8) does not take for the end. At the kind of a recycled log's fragment it tries
//! the same place for ever, and zeros where a fragment should begin send it on to the next block, so that
//! later commits would follow on a gap where that block begins with a whole record. [`Logs::mend`] makes
//! these places ones it stops at. The manifest is written like a log and misread in the same way; as it is
//! synced before it is named, damage there is none of a power failure, and [`check_manifest`] refuses it.
//!
//! The layout of records is RocksDB's: blocks of 32 KiB, in them fragments of a checksum (CRC-32C,
//! masked), a length, a kind and bytes. A batch begins with a sequence number and a count; the mark is
//! its first entry.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::format::LOG_MARK_MAGIC;

/// Bytes of a block; no fragment reaches into the next one.
const BLOCK: u64 = 32 << 10;
/// Kinds of fragments.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;
/// Kinds that occur in recycled logs only, which we have not.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];
/// A kind that there is not.
const NO_KIND: u8 = 0x7f;

/// Sequence number and count at the start of a batch.
const BATCH_HEADER: usize = 12;
/// The kind of entry that only the log holds.
const LOG_DATA: u8 = 3;
const MARK: usize = LOG_MARK_MAGIC.len() + 8;
/// How much of a batch tells its mark: the entry has its kind and its length before it.
const MARKED: usize = BATCH_HEADER + 2 + MARK;

/// What a commit writes into the log: all commits up to `synced` are on the disk.
pub(crate) fn mark(synced: u64) -> Vec<u8> {
    [LOG_MARK_MAGIC.as_slice(), &synced.to_le_bytes()].concat()
}

/// All logs of a catalog, the oldest first.
pub(crate) struct Logs {
    logs: Vec<(PathBuf, Log)>,
}

impl Logs {
    /// Reads all logs; none when the catalog is not there yet.
    pub(crate) fn read(catalog: &Path) -> Result<Logs, Error> {
        let mut paths = Vec::new();
        let entries = match fs::read_dir(catalog) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Logs { logs: Vec::new() }),
            entries => entries.map_err(Error::io(catalog, "list"))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::io(catalog, "list"))?.path();
            if path.extension().is_some_and(|ending| ending == "log") {
                paths.push(path);
            }
        }
        // Their numbers have leading zeros up to six digits.
        paths.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        let read = |path: PathBuf| Log::read(&path).map(|log| (path, log));
        Ok(Logs { logs: paths.into_iter().map(read).collect::<Result<_, _>>()? })
    }

    /// Makes places that RocksDB would misread ones at which it stops, by a byte that no writer wrote.
    pub(crate) fn mend(&self) -> Result<(), Error> {
        for (path, damage) in self.damaged().filter(|(_, damage)| damage.misleads()) {
            tracing::warn!(path = %path.display(), offset = damage.offset, "the log ends in what was never written");
            let file = File::options().write(true).open(path).map_err(Error::io(path, "open"))?;
            file.write_all_at(&[NO_KIND], damage.offset + FragmentHeader::KIND)
                .and_then(|()| file.sync_data())
                .map_err(Error::io(path, "write"))?;
        }
        Ok(())
    }

    /// Refuses logs that would have to be mended first.
    pub(crate) fn check_is_mended(&self) -> Result<(), Error> {
        match self.damaged().find(|(_, damage)| damage.misleads()) {
            Some((path, damage)) => {
                let what = "the log ends in what was never written; open the database for writing once";
                Err(Error::corrupt(path, damage.offset, what))
            }
            None => Ok(()),
        }
    }

    /// Refuses logs that say that later commits than the `recovered` one were on the disk.
    pub(crate) fn check(&self, catalog: &Path, recovered: u64) -> Result<(), Error> {
        let synced = self.logs.iter().map(|(_, log)| log.synced).max().unwrap_or(0);
        if synced <= recovered {
            return Ok(());
        }
        let first = recovered + 1;
        let what = format!(
            "the log cannot be read from here on, but the commits {first} to {synced} were on the disk; a read-only open \
             shows what was before them, and cutting the file off here and removing the logs after it gives them up"
        );
        let (path, offset) =
            self.damaged().next().map_or((catalog, 0), |(path, damage)| (path, damage.offset));
        Err(Error::corrupt(path, offset, what))
    }

    /// Damage that is no record cut off by the end of a log.
    pub(crate) fn damage(&self) -> Option<Error> {
        let (path, damage) = self.damaged().find(|(_, damage)| !damage.is_cut || damage.is_followed)?;
        Some(Error::corrupt(path, damage.offset, "a record of the log cannot be read"))
    }

    fn damaged(&self) -> impl Iterator<Item = (&Path, Damage)> {
        self.logs.iter().filter_map(|(path, log)| Some((path.as_path(), log.damage?)))
    }
}

/// Refuses a manifest, which is written like a log, at whose damage RocksDB would not stop.
pub(crate) fn check_manifest(path: &Path) -> Result<(), Error> {
    match Log::read(path) {
        // Another process has put a new one in its place.
        Err(error) if error.is_missing_file() => Ok(()),
        Ok(Log { damage: Some(damage), .. }) if damage.misleads() => {
            let what = "the manifest cannot be read from here on; restore the database from a backup";
            Err(Error::corrupt(path, damage.offset, what))
        }
        read => read.map(|_| ()),
    }
}

/// What one log says.
#[derive(Debug, Default)]
struct Log {
    /// The last commit that a mark names; 0 without marks.
    synced: u64,
    damage: Option<Damage>,
    /// The beginning of a batch that goes on in the next fragment.
    begun: Option<Vec<u8>>,
}

/// The first place that begins no fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Damage {
    offset: u64,
    kind: u8,
    length: u16,
    /// Its length reaches beyond the block, or beyond the end of the file.
    is_cut: bool,
    /// There is a fragment behind it.
    is_followed: bool,
}

impl Damage {
    /// Whether RocksDB does not stop here.
    fn misleads(&self) -> bool {
        RECYCLED.contains(&self.kind) || (self.kind == 0 && self.length == 0 && self.is_followed)
    }
}

impl Log {
    fn read(path: &Path) -> Result<Log, Error> {
        let mut file = File::open(path).map_err(Error::io(path, "open"))?;
        let (mut log, mut start, mut block) = (Log::default(), 0, Vec::new());
        loop {
            block.clear();
            file.by_ref().take(BLOCK).read_to_end(&mut block).map_err(Error::io(path, "read"))?;
            if block.is_empty() {
                return Ok(log);
            }
            log.block(start, &block);
            start += BLOCK;
        }
    }

    /// Reads every fragment of a block. Behind damage the next one is looked for at every byte.
    fn block(&mut self, start: u64, block: &[u8]) {
        let (mut rest, mut at) = (block, start);
        while let Some((header, after)) = FragmentHeader::split(rest) {
            let taken = match header.content(after) {
                Some(bytes) => {
                    self.fragment(header.kind, bytes);
                    FragmentHeader::BYTES + bytes.len()
                }
                None => {
                    let FragmentHeader { kind, length, .. } = header;
                    let is_cut = usize::from(length) > after.len();
                    self.damage.get_or_insert(Damage {
                        offset: at,
                        kind,
                        length,
                        is_cut,
                        is_followed: false,
                    });
                    self.begun = None;
                    1
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
            at += taken as u64;
        }
        // Less than a header, where the file ends before the block does.
        if !rest.is_empty() && at + (rest.len() as u64) < start + BLOCK {
            let cut = Damage { offset: at, kind: NO_KIND, length: 0, is_cut: true, is_followed: false };
            self.damage.get_or_insert(cut);
        }
    }

    fn fragment(&mut self, kind: u8, bytes: &[u8]) {
        if let Some(damage) = &mut self.damage {
            damage.is_followed = true;
        }
        if kind == FULL || kind == FIRST {
            self.begun = Some(Vec::with_capacity(MARKED));
        }
        let Some(begun) = &mut self.begun else { return };
        begun.extend(bytes.iter().take(MARKED - begun.len()));
        if begun.len() == MARKED || kind == FULL || kind == LAST {
            self.synced = self.synced.max(mark_of(begun).unwrap_or(0));
            self.begun = None;
        }
    }
}

/// The commit that a batch's mark names.
fn mark_of(batch: &[u8]) -> Option<u64> {
    let mark = batch.get(BATCH_HEADER..)?.strip_prefix(&[LOG_DATA, MARK as u8])?;
    mark.strip_prefix(&LOG_MARK_MAGIC)?.try_into().ok().map(u64::from_le_bytes)
}

/// What stands before a fragment's bytes.
struct FragmentHeader {
    checksum: u32,
    length: u16,
    kind: u8,
}

impl FragmentHeader {
    const BYTES: usize = 7;
    /// Where the kind is.
    const KIND: u64 = 6;

    /// The header at the start of some bytes, and what follows it.
    fn split(bytes: &[u8]) -> Option<(FragmentHeader, &[u8])> {
        let (&[c0, c1, c2, c3, l0, l1, kind], after) = bytes.split_first_chunk::<{ Self::BYTES }>()?;
        let (checksum, length) = (u32::from_le_bytes([c0, c1, c2, c3]), u16::from_le_bytes([l0, l1]));
        Some((FragmentHeader { checksum, length, kind }, after))
    }

    /// The fragment's bytes, when they fit the header.
    fn content<'b>(&self, after: &'b [u8]) -> Option<&'b [u8]> {
        let content = after.get(..self.length.into())?;
        let is_sound = (FULL..=LAST).contains(&self.kind) && checksum(self.kind, content) == self.checksum;
        is_sound.then_some(content)
    }
}

/// RocksDB masks checksums, as the checksum of bytes that hold their own checksum is a weak one.
fn checksum(kind: u8, content: &[u8]) -> u32 {
    let plain = crc32c::crc32c_append(crc32c::crc32c(&[kind]), content);
    plain.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch with a mark and some bytes.
    fn batch(synced: u64, bytes: usize) -> Vec<u8> {
        let mut batch = vec![0; BATCH_HEADER];
        batch.extend([LOG_DATA, MARK as u8]);
        batch.extend(mark(synced));
        batch.extend(vec![7; bytes]);
        batch
    }

    /// Appends batches as RocksDB does.
    fn log(batches: &[Vec<u8>]) -> Vec<u8> {
        let mut log = Vec::new();
        for batch in batches {
            let (mut rest, mut kinds) = (batch.as_slice(), [FULL, FIRST]);
            loop {
                let left = BLOCK as usize - log.len() % BLOCK as usize;
                if left < FragmentHeader::BYTES {
                    log.resize(log.len() + left, 0);
                    continue;
                }
                let (part, after) = rest.split_at(rest.len().min(left - FragmentHeader::BYTES));
                let kind = if after.is_empty() { kinds[0] } else { kinds[1] };
                log.extend(checksum(kind, part).to_le_bytes());
                log.extend((part.len() as u16).to_le_bytes());
                log.push(kind);
                log.extend(part);
                (rest, kinds) = (after, [LAST, LAST - 1]);
                if rest.is_empty() {
                    break;
                }
            }
        }
        log
    }

    fn read(log: &[u8]) -> (u64, Option<u64>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000004.log");
        fs::write(&path, log).unwrap();
        let log = Log::read(&path).unwrap();
        (log.synced, log.damage.map(|damage| damage.offset))
    }

    #[test]
    fn marks_are_found_in_batches_of_every_length() {
        let block = BLOCK as usize;
        for bytes in [0, 100, block - 40, 3 * block] {
            assert_eq!(read(&log(&[batch(5, bytes), batch(6, 10)])), (6, None), "{bytes}");
        }
        // The second batch begins at every distance from the end of a block.
        for distance in 0..60 {
            let first = batch(5, block - MARKED - FragmentHeader::BYTES - distance);
            assert_eq!(read(&log(&[first, batch(6, 10)])), (6, None), "{distance}");
        }
    }

    #[test]
    fn what_follows_damage_is_found() {
        let sound = log(&[batch(5, 300), batch(6, 200), batch(7, 100)]);
        let second = (FragmentHeader::BYTES + MARKED + 300) as u64;
        for at in second as usize..second as usize + FragmentHeader::BYTES + MARKED + 200 {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            assert_eq!(read(&damaged), (7, Some(second)), "{at}");
        }
        assert_eq!(read(&sound[..second as usize + 90]), (5, Some(second)));
        assert_eq!(read(&[]), (0, None));
        assert_eq!(read(&sound[..second as usize + 3]), (5, Some(second)));
        assert_eq!(read(&[0; 100]), (0, Some(0)));
    }

    #[test]
    fn batches_without_a_mark_say_nothing() {
        let other = [&[0; BATCH_HEADER][..], &[LOG_DATA, MARK as u8], &[9; MARK]].concat();
        assert_eq!(read(&log(&[other, vec![1; BATCH_HEADER], Vec::new()])), (0, None));
    }

    #[test]
    fn rocksdb_writes_what_is_read_here() {
        let folder = tempfile::tempdir().unwrap();
        let db = rocksdb::DB::open_default(folder.path()).unwrap();
        let mut batch = rocksdb::WriteBatch::default();
        batch.put_log_data(mark(9));
        batch.put(b"key", vec![3; 100_000]);
        db.write(batch).unwrap();
        let logs = Logs::read(folder.path()).unwrap();
        assert!(matches!(logs.logs.as_slice(), [(_, Log { synced: 9, damage: None, .. })]));
    }

    /// Why logs are mended. When this fails, RocksDB stops at zeros by itself.
    #[test]
    fn rocksdb_steps_over_zeros_unless_they_are_mended() {
        // A divisor of the block: then each block begins with a whole record.
        const RECORD: usize = 64;
        let live = tempfile::tempdir().unwrap();
        let db = rocksdb::DB::open_default(live.path()).unwrap();
        (0..3000_u32).for_each(|key| db.put(key.to_be_bytes(), [7_u8; 38]).unwrap());
        let found = |mend: bool| -> Vec<u32> {
            let folder = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(live.path()).unwrap().map(Result::unwrap) {
                let mut bytes = fs::read(entry.path()).unwrap();
                if entry.path().extension().is_some_and(|ending| ending == "log") {
                    bytes[100 * RECORD..40_000].fill(0);
                }
                fs::write(folder.path().join(entry.file_name()), bytes).unwrap();
            }
            if mend {
                Logs::read(folder.path()).unwrap().mend().unwrap();
            }
            let mut options = rocksdb::Options::default();
            options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
            let db = rocksdb::DB::open(&options, folder.path()).unwrap();
            (0..3000).filter(|key: &u32| db.get(key.to_be_bytes()).unwrap().is_some()).collect()
        };
        let stepped_over = found(false);
        assert_eq!(stepped_over[..100], Vec::from_iter(0..100));
        assert_eq!(stepped_over.last(), Some(&2999), "{} keys", stepped_over.len());
        assert_eq!(found(true), Vec::from_iter(0..100));
    }
}
