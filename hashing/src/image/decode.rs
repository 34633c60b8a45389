//! Decoding of picture files from anywhere, under limits.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage, RgbaImage,
};

use crate::Error;

/// What a picture file may cost before it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Pixels of the longer side.
    pub side: u32,
    /// Pixels in all.
    pub pixels: u64,
    /// Bytes of the decoded picture, as many as its decoder may take beside.
    pub memory: u64,
}

impl Default for DecodeLimits {
    /// 64 MiB of file, sides up to 32,768, 100 million pixels, 1 GiB of memory.
    fn default() -> Self {
        Self { file_bytes: 64 << 20, side: 1 << 15, pixels: 100_000_000, memory: 1 << 30 }
    }
}

/// Decodes a JPEG, PNG or WebP file into upright RGB.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, Error> {
    if bytes.len() > limits.file_bytes {
        return Err(too_large(format!("{} bytes are more than {}", bytes.len(), limits.file_bytes)));
    }
    let format = image::guess_format(bytes).ok();
    let Some(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) = format else {
        return Err(Error::ImageFormat);
    };
    // The decoder fills what is missing of a cut JPEG with gray and says nothing.
    if format == ImageFormat::Jpeg && !has_end(bytes) {
        return Err(Error::ImageDamaged { source: "the file is cut off: it has no end marker".into() });
    }
    // The decoders are other people's code on anybody's bytes: should one of them panic, the
    // picture is to blame, not the job that came across it.
    match catch_unwind(AssertUnwindSafe(|| decode_as(format, bytes, limits))) {
        Ok(result) => result,
        Err(_) => Err(Error::ImageDamaged { source: "the decoder failed".into() }),
    }
}

/// Whether a JPEG's end marker follows the start of its scan. Segments before the scan are stepped
/// over, as an embedded thumbnail has an end marker too; within a scan none can occur by chance.
fn has_end(jpeg: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END: [u8; 2] = [0xff, 0xd9];
    let mut rest = jpeg.get(2..).unwrap_or_default();
    while let &[0xff, marker, high, low, ..] = rest {
        if marker == START_OF_SCAN {
            return rest.windows(2).any(|pair| pair == END);
        }
        // A marker may be padded with any number of 0xff.
        let step = if marker == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
        rest = rest.get(step..).unwrap_or_default();
    }
    false
}

fn decode_as(format: ImageFormat, bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, Error> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut bounds = Limits::no_limits();
    bounds.max_image_width = Some(limits.side);
    bounds.max_image_height = Some(limits.side);
    bounds.max_alloc = Some(limits.memory);
    reader.limits(bounds);
    let mut decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.pixels {
        return Err(too_large(format!("{width}x{height} pixels are more than {}", limits.pixels)));
    }
    if decoder.total_bytes() > limits.memory {
        let needed = decoder.total_bytes();
        return Err(too_large(format!("{needed} bytes of memory are more than {}", limits.memory)));
    }
    let orientation = decoder.orientation().map_err(refused)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    image.apply_orientation(orientation);
    if image.width() == 0 || image.height() == 0 {
        return Err(Error::ImageDamaged { source: "it has no pixels".into() });
    }
    if image.color().has_alpha() { Ok(on_white(&image.into_rgba8())) } else { Ok(image.into_rgb8()) }
}

/// Lays a picture with transparency on white.
fn on_white(image: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0.map(u32::from);
        let blend = |color| ((color * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        Rgb([red, green, blue].map(blend))
    })
}

fn refused(error: ImageError) -> Error {
    match error {
        ImageError::Limits(limit) => too_large(limit.to_string()),
        other => Error::ImageDamaged { source: Box::new(other) },
    }
}

fn too_large(what: String) -> Error {
    Error::ImageTooLarge { what }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{GrayImage, ImageBuffer, Luma, Rgba};

    use super::*;

    const LIMITS: DecodeLimits =
        DecodeLimits { file_bytes: 1 << 20, side: 1000, pixels: 100_000, memory: 1 << 24 };

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn sample(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 11) as u8, (x + y) as u8]))
    }

    /// `jpeg` with an EXIF block that holds nothing but the orientation.
    fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        let length = (exif.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
    }

    #[test]
    fn lossless_formats_give_the_pixels_back() {
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            assert_eq!(decode(&encoded(sample(9, 5), format), &LIMITS).unwrap(), sample(9, 5));
        }
    }

    #[test]
    fn a_jpeg_that_is_cut_off_is_damaged_wherever_the_cut() {
        let jpeg = with_orientation(&encoded(sample(64, 48), ImageFormat::Jpeg), 1);
        decode(&jpeg, &LIMITS).unwrap();
        decode(&[&jpeg[..], b"trailing bytes"].concat(), &LIMITS).unwrap();
        for length in 3..jpeg.len() {
            assert!(decode(&jpeg[..length], &LIMITS).is_err(), "{length} of {} bytes", jpeg.len());
        }
    }

    #[test]
    fn transparency_is_laid_on_white() {
        let mut image = RgbaImage::new(3, 1);
        image.put_pixel(0, 0, Rgba([10, 20, 30, 255]));
        image.put_pixel(1, 0, Rgba([10, 20, 30, 0]));
        image.put_pixel(2, 0, Rgba([0, 100, 255, 51]));
        let decoded = decode(&encoded(image, ImageFormat::Png), &LIMITS).unwrap();
        assert_eq!(decoded.as_raw(), &[10, 20, 30, 255, 255, 255, 204, 224, 255]);
    }

    #[test]
    fn gray_and_16_bits_become_rgb() {
        let gray = GrayImage::from_pixel(2, 2, Luma([77]));
        assert_eq!(decode(&encoded(gray, ImageFormat::Png), &LIMITS).unwrap().as_raw(), &[77; 12]);
        let deep = ImageBuffer::<Luma<u16>, _>::from_pixel(1, 1, Luma([0x4d4d]));
        assert_eq!(decode(&encoded(deep, ImageFormat::Png), &LIMITS).unwrap().as_raw(), &[77; 3]);
    }

    #[test]
    fn photos_are_turned_upright() {
        let jpeg = encoded(sample(40, 16), ImageFormat::Jpeg);
        let plain = decode(&jpeg, &LIMITS).unwrap();
        let turned = decode(&with_orientation(&jpeg, 6), &LIMITS).unwrap();
        assert_eq!(plain.dimensions(), (40, 16));
        assert_eq!(turned, image::imageops::rotate90(&plain));
    }

    #[test]
    fn other_formats_are_refused() {
        for bytes in [&b""[..], b"hello", b"GIF89a\x01\0\x01\0\0\0\0", b"BM0000000000", &[0; 64]] {
            assert!(matches!(decode(bytes, &LIMITS), Err(Error::ImageFormat)));
        }
    }

    #[test]
    fn whatever_exceeds_a_limit_is_refused() {
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
            let bytes = encoded(sample(60, 40), format);
            assert!(decode(&bytes, &LIMITS).is_ok());
            for limits in [
                DecodeLimits { file_bytes: bytes.len() - 1, ..LIMITS },
                DecodeLimits { side: 59, ..LIMITS },
                DecodeLimits { pixels: 60 * 40 - 1, ..LIMITS },
                DecodeLimits { memory: 1000, ..LIMITS },
            ] {
                let result = decode(&bytes, &limits);
                assert!(matches!(result, Err(Error::ImageTooLarge { .. })), "{format:?} {limits:?}");
            }
        }
    }

    #[test]
    fn a_small_file_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
        let mut bytes = encoded(sample(4, 4), ImageFormat::Png);
        // Width and height of the header; its checksum, over type and data, follows.
        bytes[16..24].copy_from_slice(&[0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff]);
        assert!(matches!(
            decode(&bytes, &DecodeLimits::default()),
            Err(Error::ImageTooLarge { .. } | Error::ImageDamaged { .. })
        ));
    }

    #[test]
    fn every_cut_is_decoded_or_refused() {
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
            let bytes = encoded(sample(20, 12), format);
            for length in 0..bytes.len() {
                if let Ok(image) = decode(&bytes[..length], &LIMITS) {
                    assert_eq!(image.dimensions(), (20, 12));
                }
            }
        }
    }

    #[test]
    fn every_mutation_is_decoded_or_refused() {
        let mut state = 20_260_922_u64;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
            let original = with_exif_if_jpeg(encoded(sample(20, 12), format), format);
            for _ in 0..2000 {
                let mut bytes = original.clone();
                for _ in 0..=next(4) {
                    let at = next(bytes.len());
                    bytes[at] = [next(256) as u8, 0, 0xff, bytes[at] ^ 1][next(4)];
                }
                if let Ok(image) = decode(&bytes, &LIMITS) {
                    assert!(image.width() > 0 && image.height() > 0);
                }
            }
        }
    }

    fn with_exif_if_jpeg(bytes: Vec<u8>, format: ImageFormat) -> Vec<u8> {
        if format == ImageFormat::Jpeg { with_orientation(&bytes, 3) } else { bytes }
    }
}
