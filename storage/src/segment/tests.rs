//! Segment files: what was written is read, and every damage is found.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use half::f16;
use twinbit_kernels::{CodeBits, Modality};

use super::*;
use crate::buffer::Row;
use crate::durable::{FileGuard, Files};
use crate::error::Error;
use crate::format::{COLUMN_BYTES, ColumnKind, HEADER_BYTES, PAGE, hash};
use crate::fs::Disk;
use crate::id::RecordId;
use crate::indexer::IndexBuild;
use crate::options::ReadMode;
use crate::schema::IdKind;
use crate::tests::copying::CopyingIndexer;

const MODEL: ModelId = ModelId([9; 16]);

fn features(from: u64) -> Cow<'static, [f16]> {
    Cow::Owned((0..3).map(|i| f16::from_f32((from + i) as f32)).collect())
}

/// Rows with gaps, some without image or text.
fn buffer(kind: IdKind, rows: u64) -> RowBuffer {
    let mut buffer = RowBuffer::new(kind, Some(CodeBits::new(16).unwrap()), true);
    for i in 0..rows {
        let ordinal = 100 + i + i / 7;
        let present = [i % 3 != 1, i % 3 != 2];
        let id = match kind {
            IdKind::Auto if i == 9 => RecordId::U64(3),
            IdKind::Auto => RecordId::U64(ordinal),
            IdKind::U64 => RecordId::U64(i * 1000),
            IdKind::Str => RecordId::Str("x".repeat(i as usize % 5) + &i.to_string()),
        };
        let text = format!("text {i}");
        let code = |shift: u64| Some(Cow::Owned(vec![i as u8, (i + shift) as u8]));
        buffer
            .push(&Row {
                ordinal,
                id: Cow::Owned(id),
                present,
                image: present[0].then(|| features(i)),
                text: present[1].then_some(text.as_str()),
                text_features: None,
                codes: [code(1).filter(|_| present[0]), code(2).filter(|_| present[1])],
            })
            .unwrap();
    }
    buffer
}

fn write(folder: &Path, buffer: &RowBuffer) -> Segment {
    let layout = Layout::new(folder, Files::default());
    layout.create_folders().unwrap();
    Segment::write(&layout, 5, CollectionId(2), Some(MODEL), buffer).unwrap()
}

pub(super) const MODES: [ReadMode; 2] = [ReadMode::Mapped, ReadMode::Read];

fn guard(path: &Path, mode: ReadMode) -> FileGuard {
    Arc::new(Files::new(Arc::new(Disk), mode)).named(path.to_path_buf())
}

fn check(segment: &Segment, buffer: &RowBuffer) {
    let rows = &segment.rows;
    assert_eq!(rows.rows() as usize, buffer.rows());
    for (index, row) in buffer.iter().enumerate() {
        let index = index as u32;
        assert_eq!(rows.ordinal(index), row.ordinal);
        assert_eq!(rows.row_of(row.ordinal), Some(index));
        assert_eq!(rows.id(index).unwrap(), *row.id);
        assert_eq!(rows.features(Modality::Image, index).unwrap().as_deref(), row.image.as_deref());
        assert_eq!(rows.text(index).unwrap().as_deref(), row.text);
        for (modality, code) in Modality::ALL.into_iter().zip(&row.codes) {
            assert_eq!(rows.is_present(modality, index), code.is_some());
            assert_eq!(rows.present(modality).get(index as usize), code.is_some());
            if let Some(code) = code {
                assert_eq!(segment.codes(modality).unwrap().row(index as usize), code.as_ref());
            }
        }
    }
    assert_eq!(rows.row_of(99), None);
    assert_eq!(rows.row_of(rows.last() + 1), None);
}

/// The same files, read with ordinary calls.
fn read_again(segment: &Segment) -> Segment {
    let codes = segment.codes.as_ref().unwrap().file();
    let open = |path: &Path| guard(path, ReadMode::Read);
    let rows = segment.rows.file();
    Segment {
        rows: Arc::new(RowsFile::open(open(rows.path()), rows.length()).unwrap()),
        codes: Some(Arc::new(CodesFile::open(open(codes.path()), codes.length()).unwrap())),
        index: None,
    }
}

fn layout(folder: &Path, mode: ReadMode) -> Layout {
    Layout::new(folder, Files::new(Arc::new(Disk), mode)).with_indexer(Some(Arc::new(CopyingIndexer)))
}

/// The segment with an index of its codes.
fn with_index(folder: &Path, segment: &Segment) -> Segment {
    let build = IndexBuild { memory_bytes: 1 << 20, background: false };
    let codes = segment.codes.as_ref().unwrap();
    let layout = layout(folder, ReadMode::Mapped);
    let index = IndexFile::write(&layout, codes, &CopyingIndexer, build, &mut |_| Ok(()));
    segment.with_index(Some(Arc::new(index.unwrap())))
}

#[test]
fn rows_come_back() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [IdKind::Auto, IdKind::U64, IdKind::Str] {
        for rows in [1, 7, 8, 64, 300] {
            let buffer = buffer(kind, rows);
            let segment = write(folder.path(), &buffer);
            check(&segment, &buffer);
            check(&read_again(&segment), &buffer);
            let mut problems = Vec::new();
            segment.rows.file().verify(&mut problems);
            segment.codes.as_ref().unwrap().file().verify(&mut problems);
            assert_eq!(problems, []);
        }
    }
}

/// Codes everywhere, inputs for some rows: each input belongs to its own row.
#[test]
fn rows_with_a_code_alone_come_back_beside_rows_with_inputs() {
    let folder = tempfile::tempdir().unwrap();
    for rows in [3, 64, 200] {
        let mut buffer = RowBuffer::new(IdKind::Auto, Some(CodeBits::new(16).unwrap()), true);
        let mut expected = Vec::new();
        for ordinal in 100..100 + rows {
            let text = format!("text {ordinal}");
            let row = Row {
                ordinal,
                id: Cow::Owned(RecordId::U64(ordinal)),
                present: [true, ordinal % 5 != 4],
                image: (ordinal % 2 == 1).then(|| features(ordinal)),
                text: (ordinal % 5 == 2).then_some(text.as_str()),
                text_features: None,
                codes: [
                    Some(Cow::Owned(vec![1, ordinal as u8])),
                    (ordinal % 5 != 4).then(|| Cow::Owned(vec![2, ordinal as u8])),
                ],
            };
            buffer.push(&row).unwrap();
            expected.push((row.image.map(Cow::into_owned), row.text.map(str::to_owned)));
        }
        let segment = write(folder.path(), &buffer);
        check(&segment, &buffer);
        for (row, (image, text)) in buffer.iter().zip(&expected) {
            assert_eq!(row.image.as_deref(), image.as_deref());
            assert_eq!(row.text, text.as_deref());
        }
        let file = segment.rows.file();
        assert!(file.has(ColumnKind::ImageKept) && file.has(ColumnKind::TextKept));
        let mut problems = Vec::new();
        file.verify(&mut problems);
        assert_eq!(problems, []);
    }
}

#[test]
fn a_second_column_of_a_kind_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    for (path, open) in small_files(folder.path()) {
        let mut bytes = fs::read(&path).unwrap();
        // The second column gets the kind of the first, and the header a checksum that fits.
        bytes.copy_within(HEADER_BYTES..HEADER_BYTES + 4, HEADER_BYTES + COLUMN_BYTES);
        let checksum = hash(&bytes[..PAGE]).to_le_bytes();
        let at = bytes.len() - 16;
        bytes[at..at + 8].copy_from_slice(&checksum);
        let damaged = folder.path().join("damaged");
        fs::write(&damaged, &bytes).unwrap();
        let refused = open(&damaged, bytes.len() as u64, ReadMode::Mapped);
        assert!(matches!(refused, Err(Error::Corrupt { offset: 96, .. })));
    }
}

#[test]
fn dense_automatic_ids_take_no_column() {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = RowBuffer::new(IdKind::Auto, Some(CodeBits::new(16).unwrap()), true);
    for ordinal in 50..60 {
        buffer
            .push(&Row {
                ordinal,
                id: Cow::Owned(RecordId::U64(ordinal)),
                present: [true, false],
                image: None,
                text: None,
                text_features: None,
                codes: [Some(Cow::Owned(vec![1, 2])), None],
            })
            .unwrap();
    }
    let segment = write(folder.path(), &buffer);
    // A header page and a footer: no ids, no gaps, no presence, no inputs.
    assert_eq!(segment.rows.file().length(), 4096 + 24);
    // One page of codes for the one modality there is.
    assert_eq!(segment.codes.as_ref().unwrap().file().length(), 4096 + 4096 + 24);
    assert_eq!(segment.rows.id(4).unwrap(), RecordId::U64(54));
    assert!(segment.codes(Modality::Text).is_none());
    assert!(!segment.rows.present(Modality::Text).any());
}

#[test]
fn files_go_unless_kept() {
    let folder = tempfile::tempdir().unwrap();
    let buffer = buffer(IdKind::U64, 3);
    drop(write(folder.path(), &buffer));
    assert_eq!(fs::read_dir(folder.path().join("segments")).unwrap().count(), 0);
    let segment = write(folder.path(), &buffer);
    segment.keep();
    drop(segment);
    assert_eq!(fs::read_dir(folder.path().join("segments")).unwrap().count(), 2);
}

/// Opens a possibly damaged file; `Ok` holds what verify found.
fn open_rows(path: &Path, length: u64, mode: ReadMode) -> Result<usize, Error> {
    let file = RowsFile::open(guard(path, mode), length)?;
    let mut problems = Vec::new();
    file.file().verify(&mut problems);
    // Reading damaged contents may fail but must not panic.
    for row in 0..file.rows() {
        let _ = (file.id(row), file.text(row), file.ordinal(row), file.row_of(u64::from(row)));
        let _ = (file.features(Modality::Image, row), file.features(Modality::Text, row));
    }
    Ok(problems.len())
}

fn open_codes(path: &Path, length: u64, mode: ReadMode) -> Result<usize, Error> {
    let file = CodesFile::open(guard(path, mode), length)?;
    let mut problems = Vec::new();
    file.file().verify(&mut problems);
    let _ = Modality::ALL.map(|modality| file.codes(modality).map(|codes| codes.to_packed()));
    Ok(problems.len())
}

/// The codes are those of the segment in the folder that the file is in or below.
fn open_index(path: &Path, length: u64, mode: ReadMode) -> Result<usize, Error> {
    let folder = path.ancestors().find(|folder| folder.join("segments").is_dir()).unwrap();
    let layout = layout(folder, mode);
    let codes = layout.files.named(layout.codes(5, MODEL));
    let codes_length = fs::metadata(codes.path()).unwrap().len();
    let codes = CodesFile::open(codes, codes_length)?;
    let file = IndexFile::open(&layout, layout.files.named(path.to_path_buf()), length, &codes)?;
    let problems = file.verify(&codes, layout.indexer.as_deref());
    match Modality::ALL.iter().any(|modality| file.index(*modality).is_some()) {
        true => Ok(problems.len()),
        // Found at open, which does without.
        false => Err(Error::corrupt(path, problems[0].offset, problems[0].what.clone())),
    }
}

pub(super) type Open = fn(&Path, u64, ReadMode) -> Result<usize, Error>;

/// A small segment's files with the function that opens each.
pub(super) fn small_files(folder: &Path) -> Vec<(std::path::PathBuf, Open)> {
    let segment = with_index(folder, &write(folder, &buffer(IdKind::Str, 11)));
    segment.keep();
    vec![
        (segment.rows.file().path().to_path_buf(), open_rows as Open),
        (segment.codes.as_ref().unwrap().file().path().to_path_buf(), open_codes as Open),
        (segment.index.as_ref().unwrap().guard().path().to_path_buf(), open_index as Open),
    ]
}

/// Truncating a file that is mapped would end the process.
#[test]
fn a_file_that_is_cut_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let segment = write(folder.path(), &buffer(IdKind::Str, 200));
    segment.keep();
    let (path, length) = (segment.rows.file().path().to_path_buf(), segment.rows.file().length());
    drop(segment);
    let rows = RowsFile::open(guard(&path, ReadMode::Read), length).unwrap();
    assert!(rows.text(100).unwrap().is_some());
    fs::File::options().write(true).open(&path).unwrap().set_len(5000).unwrap();
    assert!(matches!(rows.text(100), Err(Error::Corrupt { .. })));
    assert!(matches!(rows.features(Modality::Image, 102), Err(Error::Corrupt { .. })));
    assert!(rows.id(100).is_ok());
    let mut problems = Vec::new();
    rows.file().verify(&mut problems);
    assert!(!problems.is_empty());
}

#[test]
fn a_newer_version_is_refused_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    for (path, open) in small_files(folder.path()) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 77;
        let newer = folder.path().join("newer");
        fs::write(&newer, &bytes).unwrap();
        for mode in MODES {
            let refused = open(&newer, bytes.len() as u64, mode);
            assert!(matches!(refused, Err(Error::Version { found: 77, supported: 0, .. })));
        }
    }
}
