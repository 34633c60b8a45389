//! What is on disk is what `docs/format.md` says, byte by byte where it matters.

use std::fs;
use std::path::{Path, PathBuf};

use twinbit_kernels::CodeBits;
use twinbit_storage::format::{
    CATALOG_FOLDER, CODES_MAGIC, COLUMN_BYTES, END_MAGIC, FOOTER_BYTES, FORMAT_VERSION, HEADER_BYTES,
    LOCK_FILE, MAX_COLUMNS, MAX_FIELD_BYTES, MAX_FIELDS, MAX_ID_BYTES, MAX_NAME_BYTES, MAX_SEGMENT_ROWS,
    MAX_SKETCH_TEXT, MODELS_FOLDER, ORDINALS_PER_COLUMN_CHUNK, ORDINALS_PER_DEAD_CHUNK, PAGE, ROWS_MAGIC,
    SEGMENTS_FOLDER, SKETCH_REGISTERS, TEXTS_PER_BLOCK,
};
use twinbit_storage::{CollectionConfig, Error, IdKind, InputKind, NewRecord, Store, StoreOptions};

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(wide)
}

/// Writes nine records with 64-bit codes and string ids, the third without an image, as segment 0 of
/// collection 0.
fn write(folder: &Path) -> Store {
    let store = Store::open(folder, StoreOptions::default()).unwrap();
    let config = CollectionConfig {
        bits: CodeBits::new(64).unwrap(),
        ids: IdKind::Str,
        image: InputKind::None,
        text: InputKind::None,
        keep_inputs: false,
        external_codes: true,
        fields: Vec::new(),
        application: serde_json::Value::Null,
    };
    let id = store.create_collection("codes", config).unwrap();
    let mut writer = store.writer(id).unwrap();
    for i in 0..9_u8 {
        let code = [i, 1, 2, 3, 4, 5, 6, 7];
        writer
            .put(NewRecord {
                id: Some(format!("id{i}").into()),
                codes: [(i != 2).then_some(&code[..]), Some(&code)],
                ..NewRecord::default()
            })
            .unwrap();
    }
    writer.commit().unwrap();
    store.flush(id).unwrap();
    store
}

/// A column of a segment file: kind, parameter, bytes.
fn columns(file: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut expected_offset = PAGE;
    let columns = (0..number::<2>(file, 54) as usize)
        .map(|index| {
            let entry = HEADER_BYTES + index * COLUMN_BYTES;
            let (offset, length) =
                (number::<8>(file, entry + 8) as usize, number::<8>(file, entry + 16) as usize);
            assert_eq!(offset, expected_offset);
            expected_offset = (offset + length).next_multiple_of(PAGE);
            assert!(file[offset + length..expected_offset].iter().all(|byte| *byte == 0));
            (number::<4>(file, entry), number::<4>(file, entry + 4), &file[offset..offset + length])
        })
        .collect();
    assert_eq!(file.len(), expected_offset + FOOTER_BYTES);
    assert_eq!(number::<8>(file, expected_offset), file.len() as u64);
    assert_eq!(file[file.len() - 8..], END_MAGIC);
    columns
}

#[test]
fn a_database_is_the_folder_that_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let store = write(folder.path());
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["LOCK", "catalog", "models", "segments"]);
    let lock = fs::read_to_string(folder.path().join("LOCK")).unwrap();
    assert_eq!(lock.trim(), std::process::id().to_string());
    drop(store);
}

#[test]
fn a_rows_file_has_the_bytes_that_are_described() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path()));
    let file = fs::read(folder.path().join("segments/00000000.rows")).unwrap();
    assert_eq!(file[..8], ROWS_MAGIC);
    assert_eq!(number::<4>(&file, 8), u64::from(FORMAT_VERSION));
    assert_eq!((number::<4>(&file, 12), number::<4>(&file, 16), number::<4>(&file, 20)), (0, 0, 9));
    assert_eq!(number::<8>(&file, 24), 0);
    assert_eq!(file[32..52], [0; 20]);
    assert_eq!(file[52..54], [2, 1]);
    let columns = columns(&file);
    let ends: Vec<u8> = (1..=9_u64).flat_map(|i| (i * 3).to_le_bytes()).collect();
    let presence = 0b1_1111_1011_u64.to_le_bytes();
    assert_eq!(
        columns,
        [
            (2, 0, ends.as_slice()),
            (3, 0, b"id0id1id2id3id4id5id6id7id8".as_slice()),
            (5, 0, presence.as_slice())
        ]
    );
}

#[test]
fn a_codes_file_has_the_bytes_that_are_described() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path()));
    let name = format!("segments/00000000.codes.{}", "0".repeat(32));
    let file = fs::read(folder.path().join(name)).unwrap();
    assert_eq!(file[..8], CODES_MAGIC);
    assert_eq!(number::<4>(&file, 48), 64);
    assert_eq!(file[52..54], [2, 1]);
    let columns = columns(&file);
    assert_eq!((columns[0].0, columns[1].0), (16, 17));
    // Two blocks of eight codes of one word: code i is word i; rows past the end are zero.
    let word = |i: u64| (0x0706_0504_0302_0100 | i).to_le_bytes();
    for (index, (_, _, bytes)) in columns.iter().enumerate() {
        assert_eq!(bytes.len(), 128);
        for i in 0..16 {
            let expected = if i > 8 || (index == 0 && i == 2) { [0; 8] } else { word(i) };
            assert_eq!(bytes[i as usize * 8..][..8], expected, "column {index}, row {i}");
        }
    }
}

#[test]
fn a_newer_file_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path()));
    let path = folder.path().join("segments/00000000.rows");
    let mut file = fs::read(&path).unwrap();
    file[8] = FORMAT_VERSION as u8 + 1;
    fs::write(&path, file).unwrap();
    let refused = Store::open(folder.path(), StoreOptions::default()).err().unwrap();
    assert!(matches!(&refused, Error::Version { found, supported, .. }
        if (*found, *supported) == (FORMAT_VERSION + 1, FORMAT_VERSION)));
    assert!(refused.to_string().contains("newer"), "{refused}");
}

/// The document states the numbers that the constants have.
#[test]
fn the_document_and_the_constants_agree() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "format.md"].iter().collect();
    let text = fs::read_to_string(path).unwrap();
    let magic = |bytes: &[u8]| -> String {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.join(" ")
    };
    let facts = [
        format!("version **{FORMAT_VERSION}**"),
        magic(&ROWS_MAGIC),
        magic(&CODES_MAGIC),
        magic(&END_MAGIC),
        format!("{PAGE} bytes"),
        format!("{HEADER_BYTES} bytes"),
        format!("{COLUMN_BYTES} bytes"),
        format!("{FOOTER_BYTES} bytes"),
        format!("{MAX_COLUMNS} columns"),
        format!("{MAX_SEGMENT_ROWS} rows"),
        format!("{TEXTS_PER_BLOCK} texts"),
        format!("{ORDINALS_PER_DEAD_CHUNK} ordinals"),
        format!("{ORDINALS_PER_COLUMN_CHUNK} ordinals"),
        format!("{MAX_ID_BYTES} bytes"),
        format!("{MAX_NAME_BYTES} bytes"),
        format!("{MAX_FIELD_BYTES} bytes"),
        format!("{SKETCH_REGISTERS} registers"),
        format!("{MAX_SKETCH_TEXT} bytes of whole characters"),
        format!("{MAX_FIELDS} fields"),
        format!("`{LOCK_FILE}`"),
        format!("`{CATALOG_FOLDER}/`"),
        format!("`{SEGMENTS_FOLDER}/"),
        format!("`{MODELS_FOLDER}/"),
    ];
    for fact in facts {
        assert!(text.contains(&fact), "docs/format.md does not say \"{fact}\"");
    }
}
