//! Codes made elsewhere: store them, search them, no networks. Run: `cargo run --release --example external_codes`
#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use twinbit::{Against, CodeBits, Database, Durability, Field, Input, Modality, Record, Schema};

/// Stands for a hash function of your own: near numbers get near codes.
fn code(number: u64) -> Vec<u8> {
    (0..128)
        .collect::<Vec<u64>>()
        .chunks(8)
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(number > bit * 80)))
        .collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    // Ids are given by the database; commits do not wait for the disk.
    let database = Database::builder().durability(Durability::Eventual).threads(2).open(folder.path())?;
    let schema = Schema::new(CodeBits::B128).external_codes().field("caption", Field::str());
    let items = database.create_collection("items", schema)?;

    let mut writer = items.writer()?;
    writer.extend((0..10_000_u64).map(|number| {
        Record::auto()
            .image(Input::code(code(number)))
            .text(Input::code(code(number + 3)))
            .set("caption", format!("item {number}"))
    }))?;
    writer.commit()?;

    // A batch of queries goes over the codes once.
    let snapshot = items.snapshot()?;
    let queries: Vec<Input> = [5, 4321, 9999].map(|number| Input::code(code(number))).into();
    let answers = snapshot.query_many(Modality::Text, queries).against(Against::Both).limit(2).run_many()?;
    for (query, hits) in answers.iter().enumerate() {
        for (hit, fields) in hits.iter().zip(snapshot.fields_of(hits)?) {
            println!(
                "query {query}: {:?} by its {} at distance {}",
                fields["caption"],
                hit.modality(),
                hit.distance()
            );
        }
    }

    // Neighbors of a stored record, by its id; deleting it leaves older snapshots as they were.
    items.delete(4000)?;
    println!("{} hits before, {} now", hits(&snapshot)?, hits(&items.snapshot()?)?);
    println!("{} records, {} deleted", items.stats()?.rows, items.stats()?.deleted);
    Ok(())
}

fn hits(snapshot: &twinbit::Snapshot) -> twinbit::Result<usize> {
    let near = snapshot.query(Modality::Image, Input::code(code(4000))).against(Modality::Image).within(0);
    Ok(near.run()?.len())
}
