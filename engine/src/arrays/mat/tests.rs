use std::io::Write;
use std::path::Path;

use super::super::array::Array;
use super::super::npy::ElementType;
use super::*;

/// An element: its tag, its data, padding to 8 bytes.
fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let small = data.len() <= 4 && !data.is_empty();
    let mut bytes = match small {
        true => (kind | (data.len() as u32) << 16).to_le_bytes().to_vec(),
        false => [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat(),
    };
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// A matrix of float32, as scipy writes it: numbers of class single, column by column.
pub(crate) fn singles(
    name: &str,
    rows: usize,
    columns: usize,
    value: impl Fn(usize, usize) -> f32,
) -> Vec<u8> {
    let data: Vec<u8> =
        (0..rows * columns).flat_map(|at| value(at % rows, at / rows).to_le_bytes()).collect();
    matrix(name, 7, [rows as i32, columns as i32], 7, &data)
}

/// A matrix of zeros and ones, as MATLAB writes it: of class double, packed as bytes.
pub(crate) fn flags(
    name: &str,
    rows: usize,
    columns: usize,
    value: impl Fn(usize, usize) -> bool,
) -> Vec<u8> {
    let data: Vec<u8> = (0..rows * columns).map(|at| value(at % rows, at / rows).into()).collect();
    matrix(name, 6, [rows as i32, columns as i32], 2, &data)
}

fn matrix(name: &str, class: u32, shape: [i32; 2], kind: u32, data: &[u8]) -> Vec<u8> {
    let flags = [class.to_le_bytes(), [0; 4]].concat();
    let parts = [
        element(6, &flags),
        element(5, &shape.map(i32::to_le_bytes).concat()),
        element(1, name.as_bytes()),
        element(kind, data),
    ];
    element(MATRIX, &parts.concat())
}

pub(crate) fn compressed(matrix: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(matrix).unwrap();
    let data = encoder.finish().unwrap();
    [COMPRESSED.to_le_bytes().as_slice(), &(data.len() as u32).to_le_bytes(), &data].concat()
}

pub(crate) fn file(matrices: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"MATLAB 5.0 MAT-file, written by a test".to_vec();
    bytes.resize(HEADER_BYTES - 4, b' ');
    bytes.extend([0, 1, b'I', b'M']);
    bytes.extend(matrices.concat());
    bytes
}

fn opened(folder: &Path, bytes: &[u8], key: &str) -> Result<Array, ArrayError> {
    let path = folder.join("x.mat");
    std::fs::write(&path, bytes).unwrap();
    let spec = if key.is_empty() { path } else { folder.join(format!("x.mat:{key}")) };
    Array::open(spec)
}

#[test]
fn columns_come_out_as_rows_compressed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let value = |row: usize, column: usize| (row * 1000 + column) as f32;
    // More columns than are turned at once.
    let plain = singles("XAll", 7, 200, value);
    let expected: Vec<f32> = (0..7 * 200).map(|at| value(at / 200, at % 200)).collect();
    for matrix in [plain.clone(), compressed(&plain)] {
        let array = opened(folder.path(), &file(&[matrix]), "").unwrap();
        assert_eq!((array.shape(), array.element_type()), (&[7, 200][..], ElementType::F32));
        assert_eq!(array.to_f32().unwrap(), expected);
    }
}

#[test]
fn matrices_are_found_by_name_and_packed_numbers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let labels = flags("databaseL", 5, 3, |row, column| row % 3 == column);
    let tiny = flags("tiny", 2, 2, |row, _| row == 1);
    let wide = matrix("wide", 6, [2, 2], 4, &[1_u16, 2, 3, 60_000].map(u16::to_le_bytes).concat());
    let file = file(&[compressed(&labels), tiny, compressed(&wide)]);
    let open = |key: &str| opened(folder.path(), &file, key);
    assert_eq!(open("databaseL").unwrap().to_u8().unwrap(), [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0]);
    assert_eq!(open("tiny").unwrap().to_u8().unwrap(), [0, 0, 1, 1]);
    assert_eq!(open("wide").unwrap().to_f32().unwrap(), [1.0, 3.0, 2.0, 60_000.0]);
    assert!(
        matches!(open(""), Err(ArrayError::WhichKey { keys, .. }) if keys == ["databaseL", "tiny", "wide"])
    );
    assert!(matches!(open("testL"), Err(ArrayError::Key { .. })));
}

#[test]
fn what_is_no_matrix_of_real_numbers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |matrix: Vec<u8>| opened(folder.path(), &file(&[matrix]), "").unwrap_err();
    let sparse = refused(matrix("x", 5, [2, 2], 9, &[0; 32]));
    assert!(matches!(sparse, ArrayError::Elements { found, .. } if found == "sparse"));
    let complex = refused(matrix("x", 6 | 0x0800, [2, 2], 9, &[0; 32]));
    assert!(matches!(complex, ArrayError::Elements { found, .. } if found == "complex"));
    assert!(matches!(refused(matrix("x", 6, [2, 2], 9, &[0; 24])), ArrayError::Archive { .. }));
    assert!(matches!(refused(matrix("x", 6, [i32::MAX, i32::MAX], 9, &[0; 24])), ArrayError::Archive { .. }));
    for shape in [[-1, 2], [-1, 0], [0, -1]] {
        assert!(matches!(refused(matrix("x", 6, shape, 9, &[0; 24])), ArrayError::Archive { .. }));
        assert!(matches!(refused(matrix("x", 6, shape, 9, &[])), ArrayError::Archive { .. }));
    }
}

#[test]
fn every_cut_is_refused_and_no_changed_byte_is_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = singles("XAll", 3, 4, |row, column| (row + column) as f32);
    for whole in [file(std::slice::from_ref(&matrix)), file(&[compressed(&matrix)])] {
        for length in 0..whole.len() {
            assert!(opened(folder.path(), &whole[..length], "XAll").is_err(), "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x51;
            let _ = opened(folder.path(), &damaged, "XAll");
        }
    }
}

#[test]
fn damage_of_compressed_numbers_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = file(&[compressed(&singles("XAll", 30, 4, |row, column| (row * column) as f32))]);
    *whole.last_mut().unwrap() ^= 1;
    assert!(matches!(opened(folder.path(), &whole, "XAll"), Err(ArrayError::Archive { .. })));
}

/// Packed doubles were integers once: then packed features were refused and taken for codes.
#[test]
fn numbers_come_out_as_their_class_says() {
    let folder = tempfile::tempdir().unwrap();
    let number = |class: u32, kind: u32, data: &[u8]| {
        opened(folder.path(), &file(&[matrix("x", class, [1, 1], kind, data)]), "")
            .map(|array| (array.element_type(), array.to_f32().unwrap()))
    };
    let cases: [(u32, u32, &[u8], ElementType, f32); 10] = [
        (6, 2, &[200], ElementType::F32, 200.0),
        (6, 3, &(-300_i16).to_le_bytes(), ElementType::F32, -300.0),
        (6, 5, &70_000_i32.to_le_bytes(), ElementType::F64, 70_000.0),
        (6, 9, &0.5_f64.to_le_bytes(), ElementType::F64, 0.5),
        (7, 7, &0.5_f32.to_le_bytes(), ElementType::F32, 0.5),
        (7, 2, &[3], ElementType::F32, 3.0),
        (9, 2, &[200], ElementType::U8, 200.0),
        (12, 1, &(-7_i8).to_le_bytes(), ElementType::I32, -7.0),
        (11, 4, &60_000_u16.to_le_bytes(), ElementType::I32, 60_000.0),
        (13, 6, &7_u32.to_le_bytes(), ElementType::I64, 7.0),
    ];
    for (class, kind, data, element_type, value) in cases {
        assert_eq!(number(class, kind, data).unwrap(), (element_type, vec![value]), "{class} {kind}");
    }
    // No byte is 300, and no integer is a half.
    assert!(matches!(number(9, 4, &300_u16.to_le_bytes()), Err(ArrayError::Archive { .. })));
    assert!(matches!(number(12, 9, &0.5_f64.to_le_bytes()), Err(ArrayError::Archive { .. })));
    assert!(matches!(number(15, 2, &[1]), Err(ArrayError::Elements { .. })));
}

/// A compressed matrix that announces numbers which it does not have, or few bytes that unpack to many.
#[test]
fn a_small_file_does_not_get_much_memory() {
    let folder = tempfile::tempdir().unwrap();
    let announcing = |rows: i32, columns: i32| {
        let mut matrix = matrix("x", 6, [rows, columns], 9, &[0; 16]);
        let bytes = (rows as u32).wrapping_mul(columns as u32).wrapping_mul(8);
        // The lengths of the matrix and of its numbers.
        matrix[4..8].copy_from_slice(&bytes.saturating_add(64).to_le_bytes());
        let at = matrix.len() - 16 - 4;
        matrix[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
        matrix
    };
    let lying = opened(folder.path(), &file(&[compressed(&announcing(10_000, 50_000))]), "");
    assert!(matches!(lying, Err(ArrayError::TooLarge { .. })), "{lying:?}");
    let lying = opened(folder.path(), &file(&[announcing(10_000, 50_000)]), "");
    assert!(matches!(lying, Err(ArrayError::Header { .. })), "{lying:?}");
    // 1.2 GB of zeros as doubles in bytes, which come out four times as large.
    let head = matrix("x", 6, [30_000, 10_000], 2, &[]);
    let mut zeros = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let bytes = 30_000 * 10_000_u32;
    let start = [MATRIX.to_le_bytes(), (bytes + 64).to_le_bytes()].concat();
    zeros
        .write_all(
            &[start.as_slice(), &head[8..head.len() - 8], &2_u32.to_le_bytes(), &bytes.to_le_bytes()]
                .concat(),
        )
        .unwrap();
    for _ in 0..300 {
        zeros.write_all(&[0; 1_000_000]).unwrap();
    }
    let data = zeros.finish().unwrap();
    let bomb = [COMPRESSED.to_le_bytes().as_slice(), &(data.len() as u32).to_le_bytes(), &data].concat();
    let refused = opened(folder.path(), &file(&[bomb]), "");
    assert!(matches!(refused, Err(ArrayError::TooLarge { .. })), "{refused:?}");
}
