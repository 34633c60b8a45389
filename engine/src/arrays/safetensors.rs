//! Tensors of `.safetensors` files, read in place.
//!
//! The layout (<https://github.com/huggingface/safetensors>): the length of a JSON header in 64 bits,
//! the header, which names each tensor with its type, shape and place, then their bytes.

use std::fs::File;
use std::io::Read;

use safetensors::tensor::{Dtype, Metadata};

use super::array::Data;
use super::error::ArrayError;
use super::npy::{ElementType, Header, check_dimensions};
use super::npz::choose;

/// How the names of such files end: they begin with nothing of their own.
pub(super) const ENDING: &str = "safetensors";

/// Longest header accepted; thousands of tensors take less than a megabyte.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// The tensor `key` of a file, or its only one.
pub(super) fn open(mut file: File, key: Option<&str>, name: &str) -> Result<(Header, Data), ArrayError> {
    let damaged = |reason| ArrayError::Header { name: name.to_owned(), reason };
    let failed = |source| ArrayError::Io { name: name.to_owned(), source };
    let mut start = Vec::new();
    (&mut file).take(8).read_to_end(&mut start).map_err(failed)?;
    let Some(length) = start.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
        return Err(damaged("it ends early"));
    };
    if length > MAX_HEADER_BYTES {
        return Err(damaged("it is longer than 16 MiB"));
    }
    let mut json = Vec::new();
    (&mut file).take(length).read_to_end(&mut json).map_err(failed)?;
    if (json.len() as u64) < length {
        return Err(damaged("it ends early"));
    }
    let metadata: Metadata = serde_json::from_slice(&json)
        .map_err(|source| ArrayError::Archive { name: name.to_owned(), source: source.into() })?;
    let keys = metadata.offset_keys().into_iter().map(|key| ((), key)).collect();
    let ((), key) = choose(keys, key, name)?;
    let name = format!("{name}:{key}");
    let damaged = |reason| ArrayError::Header { name: name.clone(), reason };
    let info = metadata.info(&key).ok_or_else(|| damaged("a tensor that it lists is missing"))?;
    let element_type = element_type(info.dtype)
        .ok_or_else(|| ArrayError::Elements { name: name.clone(), found: format!("{:?}", info.dtype) })?;
    check_dimensions(info.shape.len(), || name.clone())?;
    let elements = info.shape.iter().try_fold(1_usize, |product, length| product.checked_mul(*length));
    let data_bytes = elements.and_then(|elements| elements.checked_mul(element_type.bytes()));
    let (from, to) = info.data_offsets;
    if data_bytes.is_none() || data_bytes != to.checked_sub(from) {
        return Err(damaged("shape and place of a tensor contradict each other"));
    }
    let start = (8 + length).saturating_add(from as u64);
    let data_bytes = (to - from) as u64;
    let header = Header { element_type, shape: info.shape.clone(), bytes: 8 + length, data_bytes };
    let data = Data::in_file(file, start, &header, &name)?;
    Ok((header, data))
}

fn element_type(dtype: Dtype) -> Option<ElementType> {
    Some(match dtype {
        Dtype::F16 => ElementType::F16,
        Dtype::F32 => ElementType::F32,
        Dtype::F64 => ElementType::F64,
        Dtype::I8 => ElementType::I8,
        Dtype::I32 => ElementType::I32,
        Dtype::I64 => ElementType::I64,
        Dtype::U8 => ElementType::U8,
        Dtype::BOOL => ElementType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Array;
    use super::*;

    /// A file with this header and these bytes behind it.
    fn file(folder: &Path, json: &str, data: &[u8]) -> std::path::PathBuf {
        let path = folder.join("a.safetensors");
        std::fs::write(&path, [&(json.len() as u64).to_le_bytes(), json.as_bytes(), data].concat()).unwrap();
        path
    }

    const TWO: &str = r#"{"image":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},
        "text":{"dtype":"U8","shape":[2,3],"data_offsets":[8,14]},"__metadata__":{"made":"by hand"}}"#;

    #[test]
    fn tensors_are_read_in_place_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let data = [&1.5_f32.to_le_bytes()[..], &(-2.0_f32).to_le_bytes(), &[1, 2, 3, 4, 5, 6]].concat();
        let path = file(folder.path(), TWO, &data);
        let named = |key: &str| Array::open(format!("{}:{key}", path.display()));
        assert_eq!(named("image").unwrap().to_f32().unwrap(), [1.5, -2.0]);
        let text = named("text").unwrap();
        assert_eq!((text.shape(), text.element_type()), (&[2, 3][..], ElementType::U8));
        let mut row = [0; 3];
        text.read_rows_u8(1..2, &mut row).unwrap();
        assert_eq!(row, [4, 5, 6]);
        assert!(
            matches!(Array::open(&path), Err(ArrayError::WhichKey { keys, .. }) if keys == ["image", "text"])
        );
        assert!(matches!(named("other"), Err(ArrayError::Key { .. })));
        let one =
            file(folder.path(), r#"{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#, &[0, 0x3c]);
        assert_eq!(Array::open(one).unwrap().to_f32().unwrap(), [1.0]);
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |json: &str, data: &[u8]| Array::open(file(folder.path(), json, data)).unwrap_err();
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let cut = refused(&one("F32", "[2,2]", "[0,16]"), &[0; 15]);
        assert!(matches!(cut, ArrayError::Truncated { expected: 16, got: 15, .. }), "{cut}");
        let other = refused(&one("BF16", "[2]", "[0,4]"), &[0; 4]);
        assert!(matches!(other, ArrayError::Elements { .. }), "{other}");
        let cube = refused(&one("U8", "[2,1,2]", "[0,4]"), &[0; 4]);
        assert!(matches!(cube, ArrayError::Dimensions { dimensions: 3, .. }), "{cube}");
        for (shape, offsets) in
            [("[2,3]", "[0,4]"), ("[4294967296,4294967296]", "[0,4]"), ("[4]", "[4,0]"), ("[4]", "[0,-4]")]
        {
            let error = refused(&one("U8", shape, offsets), &[0; 4]);
            let known = matches!(error, ArrayError::Header { .. } | ArrayError::Archive { .. });
            assert!(known, "{shape} {offsets}: {error}");
        }
        assert!(matches!(refused("{]", &[]), ArrayError::Archive { .. }));
        let path = folder.path().join("short.safetensors");
        for bytes in [&[1, 2, 3][..], &[9, 0, 0, 0, 0, 0, 0, 0, b'{'], &[0xff; 8]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(Array::open(&path), Err(ArrayError::Header { .. })), "{bytes:?}");
        }
    }
}
