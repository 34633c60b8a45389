//! Small files of the kinds that are ingested, written by the tests themselves.

use std::io::Cursor;

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
