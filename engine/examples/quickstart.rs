//! Creates a collection, trains on it, searches both ways. Run: `cargo run --release --example quickstart`
#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use twinbit::{CodeBits, Database, IdKind, Modality, Record, Schema, TextEncoding};

const THINGS: [(&str, [f32; 3]); 4] = [
    ("tomato", [0.9, 0.2, 0.1]),
    ("lime", [0.4, 0.9, 0.1]),
    ("ocean", [0.1, 0.4, 0.9]),
    ("snow", [0.9, 0.9, 1.0]),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(folder.path())?;

    // Images come in as features of width 3 (here: a mean color), texts as text.
    let schema =
        Schema::new(CodeBits::B64).ids(IdKind::Str).image_features(3).text_encoder(TextEncoding::Ngram);
    let photos = database.create_collection("photos", schema)?;

    // Many records, one commit.
    let mut writer = photos.writer()?;
    for number in 0..50_u8 {
        for (name, color) in THINGS {
            let shade = 0.8 + f32::from(number) / 250.0;
            let record = Record::new(format!("{name}-{number}"))
                .image(color.map(|channel| channel * shade))
                .text(format!("photo {number} of a {name}"));
            writer.put(record)?;
        }
    }
    writer.commit()?;

    // Training reads what is stored; installing encodes it, all at once.
    let outcome =
        photos.trainer().hidden(64).batch(50).epochs(30).learning_rate(1e-3).fit(&photos.snapshot()?)?;
    photos.install(&outcome.model)?;
    println!("trained on {} pairs", outcome.training_pairs);

    // From now on records and queries are encoded on the way in.
    photos.put(Record::new("tomato-51").image([0.88, 0.2, 0.1]).text("one more tomato"))?;

    let snapshot = photos.snapshot()?;
    println!("a text finds images:");
    for hit in snapshot.query(Modality::Text, "a ripe tomato").limit(3).run()? {
        println!("  {} at distance {}", hit.id(), hit.distance());
    }
    println!("an image finds texts:");
    for hit in snapshot.query(Modality::Image, [0.1, 0.4, 0.85]).limit(3).run()? {
        let text = snapshot.get(hit.id().clone())?.and_then(|entry| entry.text().map(str::to_owned));
        println!("  {} at distance {}: {}", hit.id(), hit.distance(), text.unwrap_or_default());
    }
    Ok(())
}
