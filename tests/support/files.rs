//! Small files of the kinds that are ingested, written by the tests themselves.

use std::io::{Cursor, Write};

use image::{ImageFormat, RgbImage};

/// An `.npy` file of version 1 in row order: `description` is NumPy's type, such as `<f4`.
pub fn npy(description: &str, rows: usize, width: usize, data: &[u8]) -> Vec<u8> {
    let header =
        format!("{{'descr': '{description}', 'fortran_order': False, 'shape': ({rows}, {width}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

/// An `.npy` file of float32.
pub fn npy_f32(width: usize, values: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy("<f4", values.len() / width, width, &data)
}

/// An element of a MATLAB file: its type, its data, padding to 8 bytes.
pub fn mat_element(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// A matrix of a MATLAB file: numbers of a class, stored as elements of a kind, column by column.
pub fn mat_matrix(name: &str, class: u32, shape: [i32; 2], kind: u32, data: &[u8]) -> Vec<u8> {
    let parts = [
        mat_element(6, &[class.to_le_bytes(), [0; 4]].concat()),
        mat_element(5, &shape.map(i32::to_le_bytes).concat()),
        mat_element(1, name.as_bytes()),
        mat_element(kind, data),
    ];
    mat_element(14, &parts.concat())
}

/// A matrix, compressed, with so many zeros behind it.
pub fn mat_compressed(matrix: &[u8], zeros: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(matrix).expect("memory takes everything");
    let block = vec![0; zeros.min(1 << 20)];
    let mut left = zeros;
    while left > 0 {
        let here = left.min(block.len());
        encoder.write_all(&block[..here]).expect("memory takes everything");
        left -= here;
    }
    let data = encoder.finish().expect("memory takes everything");
    [15_u32.to_le_bytes().as_slice(), &(data.len() as u32).to_le_bytes(), &data].concat()
}

/// A MATLAB file of version 5.
pub fn mat_file(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"MATLAB 5.0 MAT-file, written by a test".to_vec();
    bytes.resize(124, b' ');
    bytes.extend([0, 1, b'I', b'M']);
    bytes.extend(elements.concat());
    bytes
}

/// A `.tar` file of these members.
pub fn shard(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).expect("memory takes everything");
    }
    archive.into_inner().expect("memory takes everything")
}

/// A small PNG picture of one color.
pub fn picture(color: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = RgbImage::from_pixel(16, 16, image::Rgb(color));
    picture.write_to(&mut bytes, ImageFormat::Png).expect("memory takes everything");
    bytes.into_inner()
}
