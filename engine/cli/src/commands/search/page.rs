//! The picture page of `search --show`.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageReader, Limits, RgbImage};
use twinbit::{Hit, Snapshot, Value};

use crate::failure::{Failure, Result};
use crate::page::{self, Card};
use crate::values::value_json;

/// The field that says where a record's picture is.
const PATH_FIELD: &str = "path";
/// Queries and hits that a page shows at most: pages are for looking at.
const QUERIES_SHOWN: usize = 50;
const HITS_SHOWN: usize = 200;
/// Longest side of a picture on the page, in pixels.
const SIDE: u32 = 320;
/// Largest file that is looked at, and largest picture that is decoded.
const FILE_BYTES: u64 = 64 << 20;
const PICTURE_SIDE: u32 = 16_384;
const PICTURE_BYTES: u64 = 512 << 20;

/// Endings of pictures in a folder.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Writes the page; pictures that no field leads to are looked for in `folder` by their records' ids.
pub fn write(
    path: &Path,
    title: &str,
    answers: &[Vec<Hit>],
    snapshot: &Snapshot,
    folder: Option<&Path>,
) -> Result {
    let bits = u32::try_from(snapshot.schema().bits().bits()).unwrap_or(u32::MAX);
    let mut body = String::new();
    for (number, hits) in answers.iter().take(QUERIES_SHOWN).enumerate() {
        let mut shown = Vec::new();
        for hit in hits.iter().take(HITS_SHOWN) {
            shown.push(look_up(hit, snapshot, folder)?);
        }
        let cards: Vec<Card<'_>> = shown
            .iter()
            .map(|(picture, caption, distance)| Card {
                picture: picture.as_deref(),
                caption,
                distance: *distance,
                bits,
            })
            .collect();
        let heading = if answers.len() == 1 { String::new() } else { format!("Query {number}") };
        body += &page::query_block(&heading, "", "photos", &cards);
    }
    let left_out = answers.len().saturating_sub(QUERIES_SHOWN);
    if left_out > 0 {
        body += &format!("<p>{left_out} more queries are not shown.</p>\n");
    }
    let lead = format!(
        "The nearest of {} records. The number below each is the Hamming distance, out of {bits} bits.",
        crate::output::count(snapshot.len())
    );
    let footer = "<p>Written by <code>twinbit search --show</code>.</p>";
    std::fs::write(path, page::document(title, &lead, &body, footer))
        .map_err(|error| Failure::file(path, "write the page", &error))
}

/// Picture, caption and distance of a hit.
fn look_up(hit: &Hit, snapshot: &Snapshot, folder: Option<&Path>) -> Result<(Option<Vec<u8>>, String, u32)> {
    let entry = snapshot.get(hit.id().clone())?;
    let (mut picture, mut caption) = (None, hit.id().to_string());
    if let Some(entry) = entry {
        if let Some(text) = entry.text() {
            caption = text.to_owned();
        } else if !entry.fields().is_empty() {
            let fields = entry.fields().values().map(|value| match value_json(value) {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            });
            caption = format!("{caption}: {}", fields.collect::<Vec<_>>().join(", "));
        }
        if let Some(Value::Str(path)) = entry.fields().get(PATH_FIELD) {
            picture = thumbnail(Path::new(path));
        }
        // A further caption shows the picture of the record it belongs to.
        if let (None, Some(folder)) = (&picture, folder) {
            picture = in_folder(folder, &entry.of().unwrap_or(hit.id()).to_string());
        }
    }
    Ok((picture, caption, hit.distance()))
}

/// The picture of this name in a folder, made small.
fn in_folder(folder: &Path, id: &str) -> Option<Vec<u8>> {
    ENDINGS.iter().find_map(|ending| thumbnail(&folder.join(format!("{id}.{ending}"))))
}

/// The picture in this file, made small; nothing when there is none or it cannot be read.
fn thumbnail(path: &Path) -> Option<Vec<u8>> {
    let known = std::fs::metadata(path).ok()?;
    if !known.is_file() || known.len() > FILE_BYTES {
        return None;
    }
    let mut reader = ImageReader::new(Cursor::new(std::fs::read(path).ok()?)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(PICTURE_SIDE), Some(PICTURE_SIDE));
    limits.max_alloc = Some(PICTURE_BYTES);
    reader.limits(limits);
    let small = reader.decode().ok()?.thumbnail(SIDE, SIDE);
    let mut jpeg = Cursor::new(Vec::new());
    on_white(&small).write_to(&mut jpeg, image::ImageFormat::Jpeg).ok()?;
    Some(jpeg.into_inner())
}

/// Puts a picture with transparent places on white, as JPEG has none.
fn on_white(picture: &DynamicImage) -> RgbImage {
    let picture = picture.to_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let mix = |color: u8| {
            let alpha = u32::from(alpha);
            ((u32::from(color) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        image::Rgb([mix(red), mix(green), mix(blue)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_places_become_white() {
        let mut picture = image::RgbaImage::new(2, 1);
        picture.put_pixel(0, 0, image::Rgba([10, 20, 30, 0]));
        picture.put_pixel(1, 0, image::Rgba([10, 20, 30, 255]));
        let flat = on_white(&DynamicImage::ImageRgba8(picture));
        assert_eq!((flat.get_pixel(0, 0).0, flat.get_pixel(1, 0).0), ([255; 3], [10, 20, 30]));
    }

    #[test]
    fn what_is_no_picture_gives_none() {
        assert_eq!(thumbnail(Path::new("/nowhere/at/all.png")), None);
        assert_eq!(thumbnail(Path::new(env!("CARGO_MANIFEST_DIR"))), None);
        assert_eq!(thumbnail(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")), None);
    }
}
