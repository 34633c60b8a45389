use std::io::Write;

use super::*;

/// An `.npy` file of version 1.
pub(in crate::arrays) fn npy(description: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let dictionary = format!("{{'descr': '{description}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = npy::MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    bytes.extend(data);
    bytes
}

fn npz(members: &[(&str, CompressionMethod, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, method, bytes) in members {
        let options = zip::write::SimpleFileOptions::default().compression_method(*method);
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

use zip::CompressionMethod::{self, Deflated, Stored};

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn opened(folder: &Path, name: &str, bytes: &[u8]) -> Result<Array, ArrayError> {
    std::fs::write(folder.join(name), bytes).unwrap();
    Array::open(folder.join(name))
}

#[test]
fn every_element_type_is_read_as_float() {
    let folder = tempfile::tempdir().unwrap();
    let f16s: Vec<u8> = [1.0, -2.0].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let f64s: Vec<u8> = [1.0_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let i32s: Vec<u8> = [1_i32, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
    let i64s: Vec<u8> = [1_i64, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
    for (description, data) in [
        ("<f2", f16s),
        ("<f4", floats(&[1.0, -2.0])),
        ("<f8", f64s),
        ("|i1", vec![1, 0xfe]),
        ("<i4", i32s),
        ("<i8", i64s),
    ] {
        let array = opened(folder.path(), "a.npy", &npy(description, "(2,)", &data)).unwrap();
        assert_eq!((array.rows(), array.width()), (2, 1));
        assert_eq!(array.to_f32().unwrap(), [1.0, -2.0], "{description}");
        let error = array.to_u8().unwrap_err();
        assert!(matches!(error, ArrayError::Value { row: 1, column: 0, .. }), "{description}: {error}");
    }
    let bytes = opened(folder.path(), "a.npy", &npy("|b1", "(1, 3)", &[1, 0, 1])).unwrap();
    assert_eq!(bytes.to_f32().unwrap(), [1.0, 0.0, 1.0]);
    assert_eq!(bytes.to_u8().unwrap(), [1, 0, 1]);
    let labels = opened(folder.path(), "a.npy", &npy("<f4", "(2, 1)", &floats(&[255.0, 0.0]))).unwrap();
    assert_eq!(labels.to_u8().unwrap(), [255, 0]);
}

#[test]
fn rows_in_the_middle_are_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..600_000_u32).map(|value| value as f32).collect();
    let array = opened(folder.path(), "a.npy", &npy("<f4", "(200000, 3)", &floats(&values))).unwrap();
    let mut row = [0.0; 6];
    array.read_rows_f32(7..9, &mut row).unwrap();
    assert_eq!(row, [21.0, 22.0, 23.0, 24.0, 25.0, 26.0]);
    assert_eq!(array.to_f32().unwrap(), values);
    for (rows, buffer) in [(0..2, 5), (199_999..200_001, 6), (usize::MAX - 1..usize::MAX, 3)] {
        assert!(matches!(array.read_rows_f32(rows, &mut vec![0.0; buffer]), Err(ArrayError::Rows { .. })));
    }
}

#[test]
fn arrays_in_archives_are_found_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let a = npy("|u1", "(2, 2)", &[1, 2, 3, 4]);
    let b = npy("|u1", "(1,)", &[9]);
    let both = npz(&[("a.npy", Stored, a.clone()), ("b.npy", Deflated, b), ("note.txt", Stored, vec![])]);
    let unnamed = opened(folder.path(), "both.npz", &both).unwrap_err();
    assert!(matches!(unnamed, ArrayError::WhichKey { keys, .. } if keys == ["a", "b"]));
    let open = |spec: &str| Array::open(folder.path().join(spec));
    assert_eq!(open("both.npz:a").unwrap().to_u8().unwrap(), [1, 2, 3, 4]);
    assert_eq!(open("both.npz:b").unwrap().to_u8().unwrap(), [9]);
    assert!(matches!(open("both.npz:c"), Err(ArrayError::Key { .. })));
    assert!(matches!(open("none.npz:c"), Err(ArrayError::Io { .. })));
    let one = opened(folder.path(), "one.npz", &npz(&[("a.npy", Deflated, a.clone())])).unwrap();
    assert_eq!((one.shape(), one.to_u8().unwrap()), (&[2, 2][..], vec![1, 2, 3, 4]));
    opened(folder.path(), "a.npy", &a).unwrap();
    assert!(matches!(open("a.npy:a"), Err(ArrayError::NoKeys { .. })));
}

#[test]
fn archives_that_lie_about_lengths_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for method in [Stored, Deflated] {
        let short = npz(&[("a.npy", method, npy("|u1", "(3,)", &[1, 2]))]);
        assert!(matches!(opened(folder.path(), "a.npz", &short), Err(ArrayError::Truncated { got: 2, .. })));
    }
    let long = npz(&[("a.npy", Deflated, npy("|u1", "(1,)", &[1, 2]))]);
    assert!(matches!(opened(folder.path(), "a.npz", &long), Err(ArrayError::Header { .. })));
    let huge = npz(&[("a.npy", Deflated, npy("|u1", "(1099511627776,)", &[]))]);
    assert!(matches!(opened(folder.path(), "a.npz", &huge), Err(ArrayError::TooLarge { .. })));
}

#[test]
fn other_files_and_short_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = opened(folder.path(), "a.csv", b"1,2,3 and so on").unwrap_err();
    assert!(text.to_string().contains(".npy") && text.to_string().contains("FILE:KEY"), "{text}");
    assert!(matches!(opened(folder.path(), "a", b""), Err(ArrayError::Kind { .. })));
    let short = npy("<f4", "(2, 2)", &floats(&[1.0, 2.0, 3.0]));
    assert!(matches!(
        opened(folder.path(), "a.npy", &short),
        Err(ArrayError::Truncated { expected: 16, got: 12, .. })
    ));
    assert!(matches!(Array::open(folder.path().join("none.npy")), Err(ArrayError::Io { .. })));
}

/// Damaged files are refused or read; they never panic and never allocate what they announce.
#[test]
fn mutated_files_never_panic() {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let folder = tempfile::tempdir().unwrap();
    let array = npy("<f4", "(2, 3)", &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let archive = npz(&[("a.npy", Deflated, array.clone()), ("b.npy", Stored, array.clone())]);
    let mut sound = 0;
    for round in 0..800 {
        let mut bytes = if round % 2 == 0 { array.clone() } else { archive.clone() };
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = b"0123456789(),'L\xff"[random.random_range(0..16)],
                2 => bytes[at] ^= 1 << random.random_range(0..8),
                _ => bytes.insert(at, b'9'),
            }
        }
        let path = folder.path().join("x");
        std::fs::write(&path, &bytes).unwrap();
        for spec in ["x", "x:a", "x:b"] {
            if let Ok(array) = Array::open(folder.path().join(spec)) {
                sound += usize::from(array.to_f32().is_ok());
            }
        }
        // A new file each time: cutting off an old one makes some file systems wait for the disk.
        std::fs::remove_file(path).unwrap();
    }
    assert!(sound > 50, "{sound}");
}
