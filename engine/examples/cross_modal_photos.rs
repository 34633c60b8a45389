//! Raw pictures and captions in, the right picture for a sentence out. The pictures are drawn here, so
//! nothing is downloaded. Run: `cargo run --release --features efficientnet-lite0 --example cross_modal_photos`
#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use twinbit::{CodeBits, Database, IdKind, ImageEncoding, Input, Modality, Record, Schema, TextEncoding};

const COLORS: [(&str, [u8; 3]); 4] =
    [("red", [210, 40, 40]), ("green", [40, 170, 60]), ("blue", [40, 70, 210]), ("yellow", [235, 205, 50])];
const SHAPES: [&str; 3] = ["circle", "square", "stripes"];

/// A PNG file of a shape on a light ground, in one of several sizes.
fn draw(shape: &str, color: [u8; 3], size: i32) -> Result<Vec<u8>, image::ImageError> {
    let picture = RgbImage::from_fn(96, 96, |x, y| {
        let (x, y) = (x as i32 - 48, y as i32 - 48);
        let inside = match shape {
            "circle" => x * x + y * y < size * size,
            "square" => x.abs() < size && y.abs() < size,
            _ => (x + 48) / (size / 3) % 2 == 0,
        };
        Rgb(if inside { color } else { [240, 240, 235] })
    });
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let schema = Schema::new(CodeBits::B64)
        .ids(IdKind::Str)
        .image_encoder(ImageEncoding::EfficientNetLite0)
        .text_encoder(TextEncoding::Ngram);
    let photos = Database::open(folder.path())?.create_collection("shapes", schema)?;

    let mut records = Vec::new();
    for size in (18..42).step_by(4) {
        for (color, rgb) in COLORS {
            for shape in SHAPES {
                let record = Record::new(format!("{color}-{shape}-{size}.png"));
                let record = record.image(Input::picture(draw(shape, rgb, size)?));
                records.push(record.text(format!("a {color} {shape}")));
            }
        }
    }
    let mut writer = photos.writer()?;
    writer.extend(records)?;
    writer.commit()?;
    let outcome = photos.trainer().hidden(256).batch(36).epochs(40).fit(&photos.snapshot()?)?;
    photos.install(&outcome.model)?;

    for hit in photos.snapshot()?.query(Modality::Text, "yellow stripes").limit(5).run()? {
        println!("{} at distance {}", hit.id(), hit.distance());
    }
    Ok(())
}
