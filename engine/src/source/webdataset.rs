//! WebDataset shards: `.tar` archives in which the files of a sample stand together.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tar::{Archive, EntryType};

use super::error::SourceError;
use super::files::{self, failed};
use super::{Content, Item, MAX_PICTURE_BYTES, MAX_TEXT_BYTES, Position, Source, check_first, json, record};
use crate::{Error, Input, Schema};

/// The longest name of a member that is read, as an extension record announces it.
const MAX_NAME_BYTES: u64 = 64 << 10;

/// Records from WebDataset shards.
///
/// Members whose names are the same up to the first dot of the file name are one sample, whose key
/// that is; they stand together. `.jpg`, `.jpeg`, `.png` and `.webp` are its picture, the lines of
/// `.txt` its captions (see [`Content`](crate::Content)), and of `.json` the values of declared
/// fields are taken; other keys there and other members are left out, because shards commonly
/// carry many. The key is the id; where ids are u64 it must be a number, where they are automatic it
/// is not kept. Nothing is ever written to disk, so that names with `..` do no harm.
///
/// ```
/// use twinbit::{WebDatasetSource, expand_pattern};
///
/// let source = WebDatasetSource::new(expand_pattern("shards/{00000..00012}.tar")?);
/// # drop(source);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WebDatasetSource {
    shards: Vec<PathBuf>,
}

/// The members of one sample, as far as they have been read.
#[derive(Default)]
struct Sample {
    key: String,
    picture: Option<Vec<u8>>,
    text: Option<Vec<u8>>,
    fields: Option<Vec<u8>>,
    /// The first thing that was wrong with it.
    error: Option<SourceError>,
}

impl WebDatasetSource {
    /// The samples of these shards, one after the other.
    pub fn new<P: Into<PathBuf>>(shards: impl IntoIterator<Item = P>) -> Self {
        WebDatasetSource { shards: shards.into_iter().map(Into::into).collect() }
    }

    fn samples(
        &self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for (number, offset, path) in start.rest_of(&self.shards) {
            let mut shard = Shard { path, number, schema, each: &mut *each };
            if shard.read(offset)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Sample {
    fn member(&mut self, name: &str, extension: &str, bytes: Result<Vec<u8>, SourceError>) {
        let slot = match extension {
            "txt" => &mut self.text,
            "json" => &mut self.fields,
            _ => &mut self.picture,
        };
        let error = match bytes {
            Ok(bytes) if slot.is_none() => {
                *slot = Some(bytes);
                return;
            }
            Ok(_) => SourceError::Repeated { name: name.to_owned() },
            Err(error) => error,
        };
        self.error.get_or_insert(error);
    }

    fn is_empty(&self) -> bool {
        self.picture.is_none() && self.text.is_none() && self.fields.is_none() && self.error.is_none()
    }

    fn content(self, schema: &Schema) -> Result<Content, SourceError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut record = record(schema.id_kind(), &self.key)?;
        if let Some(picture) = self.picture {
            record = record.image(Input::picture(picture));
        }
        if let Some(fields) = self.fields {
            let mut object = json::object(&fields, || format!("{}.json", self.key))?;
            for (field, _) in schema.fields() {
                if let Some(value) = object.remove(field)
                    && let Some(value) = json::scalar(field, value)?
                {
                    record = record.set(field, value);
                }
            }
        }
        let texts = match self.text {
            Some(text) => files::captions(text, || format!("{}.txt", self.key))?,
            None => Vec::new(),
        };
        Ok(Content::new(record, texts))
    }
}

/// Key and extension of a member: split at the first dot of the file name.
fn split_name(name: &str) -> (&str, String) {
    let name = name.strip_prefix("./").unwrap_or(name);
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    match name.get(file..).and_then(|file| file.find('.')) {
        Some(dot) => {
            let (key, extension) = name.split_at(file + dot);
            (key, extension.trim_start_matches('.').to_ascii_lowercase())
        }
        None => (name, String::new()),
    }
}

/// The most bytes a member with this extension may have; `None` when it is not read.
fn limit(extension: &str) -> Option<u64> {
    match extension {
        "jpg" | "jpeg" | "png" | "webp" => Some(MAX_PICTURE_BYTES),
        "txt" | "json" => Some(MAX_TEXT_BYTES),
        _ => None,
    }
}

/// The samples of one shard, handed out as they become complete.
struct Shard<'a> {
    path: &'a Path,
    number: u64,
    schema: &'a Schema,
    each: &'a mut dyn FnMut(Item) -> ControlFlow<()>,
}

impl Shard<'_> {
    fn read(&mut self, offset: u64) -> Result<ControlFlow<()>, SourceError> {
        let path = self.path;
        let mut file = File::open(path).map_err(failed(path))?;
        file.seek(SeekFrom::Start(offset)).map_err(failed(path))?;
        let mut archive = Archive::new(BufReader::with_capacity(1 << 20, file));
        let damaged = |at: u64| {
            move |source| SourceError::Archive {
                path: path.to_owned(),
                offset: offset.saturating_add(at),
                source,
            }
        };
        let mut sample = Sample::default();
        let mut long_name: Option<Vec<u8>> = None;
        // Where the members of the next sample start, extension records included.
        let mut next = offset;
        // Raw members: extension records are ours to read, so that their length is ours to bound.
        for entry in archive.entries().map_err(damaged(0))?.raw(true) {
            let mut entry = entry.map_err(damaged(next.saturating_sub(offset)))?;
            let at = entry.raw_header_position();
            let end = entry
                .raw_file_position()
                .saturating_add(entry.size().checked_next_multiple_of(512).unwrap_or(u64::MAX));
            let kind = entry.header().entry_type();
            if kind == EntryType::GNULongName || kind == EntryType::XHeader {
                let bytes = files::read_limited(
                    &mut entry,
                    MAX_NAME_BYTES,
                    || format!("the name of a member of {}", path.display()),
                    damaged(at),
                )?;
                long_name = extended_name(kind, bytes).or(long_name);
                continue;
            }
            let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            if kind == EntryType::Regular || kind == EntryType::Continuous {
                let name = String::from_utf8_lossy(&name);
                let (key, extension) = split_name(&name);
                if key != sample.key {
                    let complete =
                        std::mem::replace(&mut sample, Sample { key: key.to_owned(), ..Sample::default() });
                    if self.hand_out(complete, next).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                if let Some(limit) = limit(&extension) {
                    let read = files::read_limited(&mut entry, limit, || name.to_string(), damaged(at));
                    match read {
                        Ok(bytes) if bytes.len() as u64 != entry.size() => {
                            let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                            return Err(damaged(at)(cut));
                        }
                        Err(error @ SourceError::Archive { .. }) => return Err(error),
                        read => sample.member(&name, &extension, read),
                    }
                }
            }
            next = offset.saturating_add(end);
        }
        // The last sample of a shard ends where the next shard starts.
        let start = Position { part: self.number + 1, offset: 0 };
        Ok(self.hand_out_at(sample, start))
    }

    fn hand_out(&mut self, sample: Sample, next: u64) -> ControlFlow<()> {
        self.hand_out_at(sample, Position { part: self.number, offset: next })
    }

    fn hand_out_at(&mut self, sample: Sample, next: Position) -> ControlFlow<()> {
        if sample.is_empty() {
            return ControlFlow::Continue(());
        }
        let name = format!("{} sample {}", self.path.display(), sample.key);
        let content = sample.content(self.schema).map_err(Error::from);
        (self.each)(Item { name, next, content })
    }
}

/// The name that an extension record gives to the member after it.
fn extended_name(kind: EntryType, bytes: Vec<u8>) -> Option<Vec<u8>> {
    if kind == EntryType::GNULongName {
        return bytes.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
    }
    let records = tar::PaxExtensions::new(&bytes);
    records.flatten().find(|record| record.key_bytes() == b"path").map(|record| record.value_bytes().to_vec())
}

impl Source for WebDatasetSource {
    fn name(&self) -> Result<String, Error> {
        Ok(files::name("webdataset", self.shards.iter().map(|shard| ("shard", shard.as_path())))?)
    }

    fn fingerprint(&self) -> Result<u64, Error> {
        Ok(files::fingerprint(self.shards.iter().map(PathBuf::as_path))?)
    }

    fn items(&self, _start: Position) -> Option<u64> {
        None
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        let Some(first) = self.shards.first() else {
            return Err(SourceError::Nothing { what: "shard" }.into());
        };
        for shard in &self.shards {
            File::open(shard).map_err(failed(shard))?;
        }
        check_first(schema, first, |each| self.samples(schema, Position::default(), each))
    }

    fn read(
        &mut self,
        schema: &Schema,
        start: Position,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.samples(schema, start, each)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{assert_continues, brief, items, raw_schema};
    use super::*;
    use crate::IdKind;

    fn shard(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            if name.contains("..") {
                // The builder refuses such names: write it past it.
                header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
                header.set_cksum();
                archive.append(&header, *bytes).unwrap();
            } else {
                archive.append_data(&mut header, name, *bytes).unwrap();
            }
        }
        archive.into_inner().unwrap()
    }

    fn briefs(shards: &[Vec<u8>], ids: IdKind) -> Result<Vec<String>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..shards.len()).map(|n| folder.path().join(format!("{n}.tar"))).collect();
        for (path, bytes) in paths.iter().zip(shards) {
            fs::write(path, bytes).unwrap();
        }
        let mut source = WebDatasetSource::new(paths);
        let items = items(&mut source, &raw_schema(ids), Position::default())?;
        Ok(items.iter().map(brief).collect())
    }

    #[test]
    fn members_of_one_key_are_one_sample() {
        let first = shard(&[
            ("./a.jpg", b"A"),
            ("./a.txt", b" one \n\ntwo\r\n"),
            ("./a.json", br#"{"year": 3, "split": null, "labels": [1]}"#),
            ("b.cls", b"7"),
            ("b.c.PNG", b"B"),
        ]);
        let second = shard(&[("x/b.txt", b"text"), ("x/c.seg.png", b"-"), ("../d.webp", b"D")]);
        assert_eq!(
            briefs(&[first, second], IdKind::Str).unwrap(),
            ["a|A|one|two|[(\"year\", U64(3))]", "x/b|-|text||[]", "../d|D|-||[]",]
        );
    }

    #[test]
    fn keys_are_numbers_where_ids_are_and_nothing_where_they_are_automatic() {
        let members = shard(&[("000012.txt", b"a"), ("x.txt", b"b")]);
        let numbers = briefs(std::slice::from_ref(&members), IdKind::U64).unwrap();
        assert_eq!(numbers[0], "12|-|a||[]");
        assert!(numbers[1].contains("no whole number"), "{numbers:?}");
        assert_eq!(briefs(&[members], IdKind::Auto).unwrap(), ["auto|-|a||[]", "auto|-|b||[]"]);
    }

    #[test]
    fn what_is_wrong_with_a_sample_is_its_own_affair() {
        let members = shard(&[
            ("a.txt", b"\xff"),
            ("b.json", b"[1]"),
            ("c.json", br#"{"year": {}}"#),
            ("d.jpg", b"1"),
            ("d.png", b"2"),
            ("e.txt", b"fine"),
        ]);
        let briefs = briefs(&[members], IdKind::Str).unwrap();
        let wanted = [
            "a.txt is not UTF-8",
            "b.json is no JSON object",
            "column \"year\"",
            "d.png is the second",
            "e|-|fine",
        ];
        for (brief, wanted) in briefs.iter().zip(wanted) {
            assert!(brief.starts_with(wanted), "{brief}");
        }
        assert_eq!(briefs.len(), wanted.len());
    }

    #[test]
    fn long_names_are_read_and_endless_ones_refused() {
        let long = format!("{}/sample.txt", "folder".repeat(40));
        let gnu = shard(&[(&long, b"gnu"), ("b.txt", b"b")]);
        let mut pax = tar::Builder::new(Vec::new());
        pax.append_pax_extensions([("path", long.as_bytes())]).unwrap();
        let pax = [pax.into_inner().unwrap(), shard(&[("short.txt", b"pax")])].concat();
        // The builder closes an archive with two empty blocks, which end it: take them out.
        let pax: Vec<u8> =
            pax.chunks(512).filter(|block| block.iter().any(|byte| *byte != 0)).flatten().copied().collect();
        let key = long.trim_end_matches(".txt");
        assert_eq!(
            briefs(&[gnu], IdKind::Str).unwrap(),
            [format!("{key}|-|gnu||[]"), "b|-|b||[]".to_owned()]
        );
        assert_eq!(briefs(&[pax], IdKind::Str).unwrap(), [format!("{key}|-|pax||[]")]);
        let endless = shard(&[(&"n".repeat(MAX_NAME_BYTES as usize + 1), b"x")]);
        assert!(matches!(briefs(&[endless], IdKind::Str), Err(Error::Source(SourceError::TooLarge { .. }))));
    }

    #[test]
    fn reading_continues_behind_every_sample() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}.txt", "n".repeat(200));
        let shards = [
            shard(&[("a.txt", b"a"), ("a.json", b"{}"), (&long, b"long"), ("c.cls", b"-"), ("d.txt", b"d")]),
            shard(&[]),
            shard(&[("e.txt", b"e"), ("f.jpg", &[b'f'; 1500])]),
        ];
        let paths: Vec<PathBuf> = (0..3).map(|n| folder.path().join(format!("{n}.tar"))).collect();
        for (path, bytes) in paths.iter().zip(&shards) {
            fs::write(path, bytes).unwrap();
        }
        assert_continues(&mut WebDatasetSource::new(paths), &raw_schema(IdKind::Str));
    }

    #[test]
    fn collections_that_take_no_pictures_are_refused_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.tar");
        fs::write(&path, shard(&[("a.jpg", b"A"), ("a.txt", b"a")])).unwrap();
        let source = WebDatasetSource::new([&path]);
        assert!(source.check(&raw_schema(IdKind::Auto)).is_ok());
        let features = raw_schema(IdKind::Auto).image_features(8);
        assert!(matches!(source.check(&features), Err(Error::Source(SourceError::Takes { .. }))));
        let none = WebDatasetSource::new(Vec::<PathBuf>::new());
        assert!(matches!(none.check(&features), Err(Error::Source(SourceError::Nothing { .. }))));
    }

    /// Damaged shards end with an error or give fewer samples; they never panic.
    #[test]
    fn mutated_shards_never_panic() {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let long = format!("{}.txt", "n".repeat(150));
        let sound = shard(&[("a.jpg", b"A"), ("a.json", br#"{"year": 1}"#), (&long, b"x"), ("b.txt", b"b")]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.tar");
        let (mut refused, mut read) = (0, 0);
        for _ in 0..800 {
            let mut bytes = sound.clone();
            for _ in 0..random.random_range(1..5) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..8) {
                    0 => bytes.truncate(at.max(1)),
                    // Sizes of members, with a checksum that fits.
                    1..4 => {
                        let start = at / 512 * 512;
                        if let Some(block) = bytes.get_mut(start..start + 512) {
                            let header = tar::Header::from_byte_slice(block);
                            let mut header = header.clone();
                            header.set_size(random.random::<u64>() >> random.random_range(0..64));
                            header.set_cksum();
                            block.copy_from_slice(header.as_bytes());
                        }
                    }
                    _ => bytes[at] ^= 1 << random.random_range(0..8),
                }
            }
            fs::write(&path, &bytes).unwrap();
            match items(&mut WebDatasetSource::new([&path]), &raw_schema(IdKind::Str), Position::default()) {
                Ok(items) => read += items.len(),
                Err(_) => refused += 1,
            }
            // A new file each time: cutting off an old one makes some file systems wait for the disk.
            fs::remove_file(&path).unwrap();
        }
        assert!(refused > 100 && read > 100, "{refused} {read}");
    }
}
