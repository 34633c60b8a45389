//! Fields, filters, radius and explain. Run: `cargo run --release --example filters`
#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use twinbit::{CodeBits, Database, Field, Filter, IdKind, Input, Modality, Record, Schema, field};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let schema = Schema::new(CodeBits::B16)
        .ids(IdKind::U64)
        .external_codes()
        .field("year", Field::u64().indexed())
        .field("lang", Field::str().indexed())
        .field("taken", Field::timestamp());
    let photos = Database::open(folder.path())?.create_collection("photos", schema)?;

    let mut writer = photos.writer()?;
    for number in 0..1000_u64 {
        let record = Record::new(number)
            .image(Input::code((number as u16).to_be_bytes()))
            .set("year", 2000 + number % 25)
            .set("taken", format!("20{:02}-06-01T12:00:00Z", number % 25));
        // A record without a value of a field passes no comparison with it.
        let record = if number % 3 == 0 { record } else { record.set("lang", "en") };
        writer.put(record)?;
    }
    writer.commit()?;

    // A filter is built in Rust, or parsed; both choose rows before the search, so the answer is exact.
    let built = field("year").ge(2015) & field("lang").eq("en");
    let parsed = Filter::parse("year >= 2015 and lang = \"en\"")?;
    assert_eq!(built, parsed);

    let snapshot = photos.snapshot()?;
    let query = snapshot.query(Modality::Text, Input::code([0, 0])).filter(built);
    let hits = query.clone().limit(5).run()?;
    for (hit, fields) in hits.iter().zip(snapshot.fields_of(&hits)?) {
        println!("{} at distance {}: {fields:?}", hit.id(), hit.distance());
    }
    println!("within distance 2: {} records", query.clone().within(2).run()?.len());
    println!("{}", query.explain()?.plan);

    // Mistakes come back with their place.
    if let Err(error) = Filter::parse("year >= 2015 and lang ~ 'en'") {
        println!("{}", error.render());
    }

    let mut writer = photos.writer()?;
    let old = writer.delete_where(Filter::parse("taken < '2010-01-01T00:00:00Z' or lang is null")?)?;
    writer.commit()?;
    println!("deleted {old}, {} are left", photos.snapshot()?.len());
    Ok(())
}
