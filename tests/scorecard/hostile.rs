//! Row 12: inputs made to take much memory or to reach where they should not.
//!
//! Each is read in a process whose address space is limited; what goes beyond ends the process.

use std::fs;
use std::process::Command;

use twinbit_tests::{
    ColumnOf, Row, mat_compressed, mat_element, mat_file, mat_matrix, npy, parquet_file, scratch, shard,
};

/// Address space of the reading process, in KiB: the program, its threads' stacks and RocksDB take a
/// part of it.
const CAP_KIB: u64 = 2 << 20;

/// A safetensors file with this header.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// A PNG file that claims a size, with a body that inflates to nothing.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let step = |crc: u32, byte: &u8| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        };
        !bytes.iter().fold(!0, step)
    };
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        file.extend((data.len() as u32).to_be_bytes());
        let body = [&kind[..], data].concat();
        file.extend(&body);
        file.extend(crc(&body).to_be_bytes());
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &[0x78, 0x9c, 0x63, 0, 0, 0, 0, 0xff, 0xff, 3, 0, 0, 0, 0, 1]);
    chunk(b"IEND", &[]);
    file
}

/// A picture of one color that is small as a file and large in memory.
fn picture_bomb(side: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::GrayImage::new(side, side);
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Name, whose ending says how it is read, and content; whether it may also be accepted, as it does no
/// harm.
fn inputs() -> Vec<(&'static str, Vec<u8>, bool)> {
    let tensor = |entry: &str| {
        let metadata = r#""__metadata__":{"twinbit":"{\"version\":0,\"spec\":{\"bits\":8,\"image_width\":2,\"text_width\":2,\"hidden\":2,\"image_layers\":1,\"text_layers\":1,\"image_featurizer\":\"none\",\"text_featurizer\":\"none\"}}"}"#;
        safetensors(&format!("{{{metadata},{entry}}}"), &[0; 64])
    };
    let deep = |open: &str, depth: usize| open.repeat(depth).into_bytes();
    let mut tar_of_huge_member = shard(&[("a.png", b"x")]);
    tar_of_huge_member[124..136].copy_from_slice(b"77777777777\0");
    let nan = f32::NAN.to_le_bytes();
    let matrix = |side: i32, kind: u32, bytes: u32| matrix_announcing([side, side], kind, bytes);
    vec![
        ("claims.png", png_claiming(u32::MAX / 2, u32::MAX / 2), false),
        ("claims-wide.png", png_claiming(1 << 30, 1), false),
        ("claims-modest.png", png_claiming(30_000, 30_000), false),
        ("bomb.png", picture_bomb(11_000), false),
        ("header-length.safetensors", u64::MAX.to_le_bytes().to_vec(), false),
        ("header-of-a-terabyte.safetensors", [&(1_u64 << 40).to_le_bytes()[..], &[b' '; 99]].concat(), false),
        ("deep-header.safetensors", safetensors(&"[".repeat(900_000), &[]), false),
        ("overlap.safetensors", tensor(r#""image.layers.0.weight":{"dtype":"F16","shape":[8,2],"data_offsets":[0,32]},"image.layers.0.bias":{"dtype":"F16","shape":[8],"data_offsets":[16,32]}"#), false),
        ("beyond.safetensors", tensor(r#""image.layers.0.weight":{"dtype":"F16","shape":[8,2],"data_offsets":[0,9999999999]}"#), false),
        ("backwards.safetensors", tensor(r#""image.layers.0.weight":{"dtype":"F16","shape":[8,2],"data_offsets":[32,0]}"#), false),
        ("shape.safetensors", tensor(r#""image.layers.0.weight":{"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,32]}"#), false),
        ("huge-spec.safetensors", safetensors(r#"{"__metadata__":{"twinbit":"{\"version\":0,\"spec\":{\"bits\":4096,\"image_width\":1048576,\"text_width\":1048576,\"hidden\":65536,\"image_layers\":16,\"text_layers\":16,\"image_featurizer\":\"none\",\"text_featurizer\":\"none\"}}"}}"#, &[]), false),
        ("shape.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }                                  \n".to_vec(), false),
        ("rows.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 2), }                                        \n".to_vec(), false),
        ("header.npy", [&b"\x93NUMPY\x02\x00"[..], &u32::MAX.to_le_bytes()].concat(), false),
        ("nan.npy", npy("<f4", 1, 2, &[nan, nan].concat()), false),
        ("claims.mat", mat_file(&[mat_compressed(&matrix(20_000, 9, 3_200_000_000), 0)]), false),
        ("claims-unpacked.mat", mat_file(&[matrix(20_000, 9, 3_200_000_000)]), false),
        ("shape.mat", mat_file(&[matrix(i32::MAX, 9, 8)]), false),
        ("bomb.mat", mat_file(&[mat_compressed(&matrix(17_000, 2, 289_000_000), 289_000_000)]), false),
        ("smaller-bomb.mat", mat_file(&[mat_compressed(&matrix(15_000, 2, 225_000_000), 225_000_000)]), true),
        ("name.mat", mat_file(&[mat_element(14, &[mat_element(6, &[6; 8]), mat_element(5, &[1; 8]), [1_u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat()].concat())]), false),
        ("elements.mat", mat_file(&vec![mat_element(3, &[]); 1 << 20]), false),
        ("names.tar", shard_with_name("../../escaped.txt", b"a caption"), true),
        ("absolute.tar", shard_with_name("/tmp/twinbit-escaped.txt", b"a caption"), true),
        ("huge-member.tar", tar_of_huge_member, false),
        ("row-groups.parquet", parquet_of(b"\x49\xfc\xff\xff\xff\x7f\x00\x00"), false),
        ("schema.parquet", parquet_of(b"\x29\xfc\xff\xff\xff\x7f\x00\x00"), false),
        ("deep-metadata.parquet", parquet_of(&[0x1c; 1 << 20]), false),
        ("footer.parquet", [&b"PAR1"[..], &u32::MAX.to_le_bytes(), b"PAR1"].concat(), false),
        ("page.parquet", parquet_of_large_page(), false),
        ("deep.jsonl", deep("[", 2_000_000), false),
        ("row.csv", [&b"id,text\n1,\""[..], &vec![b'x'; 300 << 20]].concat(), false),
        ("cells.csv", [&b"id,text\n"[..], &vec![b','; 300 << 20]].concat(), false),
        ("deep-objects.jsonl", deep("{\"id\":", 500_000), false),
        ("long-line.jsonl", vec![b' '; 300 << 20], false),
        ("long-id.jsonl", format!("{{\"id\": \"{}\", \"text\": \"x\"}}\n", "i".repeat(5 << 20)).into_bytes(), false),
        ("long-text.jsonl", format!("{{\"id\": \"a\", \"text\": \"{}\"}}\n", "x ".repeat(20 << 20)).into_bytes(), false),
        ("deep.filter", deep("(", 1_000_000), false),
        ("deep-not.filter", deep("not ", 16_000), false),
        ("list.filter", format!("a in ({}1)", "1,".repeat(1 << 20)).into_bytes(), false),
    ]
}

/// A Parquet file with these bytes as its metadata.
fn parquet_of(metadata: &[u8]) -> Vec<u8> {
    [b"PAR1", metadata, &(metadata.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

/// A sound Parquet file but for the size of its first page, which claims two thousand million bytes.
fn parquet_of_large_page() -> Vec<u8> {
    let columns = [ColumnOf::texts(&["a"]), ColumnOf::texts(&["a caption"])];
    let schema = "message m { optional binary id (UTF8); optional binary text (UTF8); }";
    let mut file = parquet_file(schema, &columns, 1);
    // Behind the kind of the page: its unpacked and its packed size, as zigzag numbers of one byte.
    let rest = file.split_off(4);
    let sizes = [0x15, 0x00, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f];
    file.extend(sizes);
    file.extend(&rest[6..]);
    file
}

/// A matrix of doubles that announces so many bytes of numbers, and has none.
fn matrix_announcing(shape: [i32; 2], kind: u32, bytes: u32) -> Vec<u8> {
    let mut matrix = mat_matrix("x", 6, shape, kind, &[]);
    let end = matrix.len();
    matrix[end - 4..].copy_from_slice(&bytes.to_le_bytes());
    matrix[4..8].copy_from_slice(&bytes.saturating_add(64).to_le_bytes());
    matrix
}

/// A tar file with a member of a name that tools refuse to write.
fn shard_with_name(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = shard(&[("placeholder-of-the-name.txt", bytes)]);
    file[..100].fill(0);
    file[..name.len()].copy_from_slice(name.as_bytes());
    file[148..156].fill(b' ');
    let sum: u32 = file[..512].iter().map(|byte| u32::from(*byte)).sum();
    file[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    file
}

#[test]
fn hostile_inputs_are_refused_within_a_memory_limit() {
    let row = Row::begin(12, "hostile inputs under a memory limit");
    let inputs = inputs();
    let mut refused = 0;
    for (name, bytes, may_be_accepted) in &inputs {
        let folder = scratch();
        fs::write(folder.path().join(name), bytes).unwrap();
        let limited = format!("ulimit -v {CAP_KIB}; ulimit -c 0; exec \"$0\" hostile \"$1\" {name}");
        let output = Command::new("sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_victim")])
            .arg(folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {}: {told} {said}", output.status);
        let is_refused = told.contains("failed ");
        refused += u64::from(is_refused);
        assert!(is_refused || (*may_be_accepted && told.contains("complete")), "{name}: {told}");
        assert!(!std::path::Path::new("/tmp/twinbit-escaped.txt").exists(), "{name}");
        let above = folder.path().parent().unwrap().join("escaped.txt");
        assert!(!above.exists(), "{name}");
    }
    let figures = format!(
        "{refused} refused with typed errors, {} harmless; below {} MiB of address space",
        inputs.len() as u64 - refused,
        CAP_KIB >> 10
    );
    row.passed(&format!("{} inputs", inputs.len()), &figures);
}
