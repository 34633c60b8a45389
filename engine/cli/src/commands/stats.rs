//! `twinbit stats`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use twinbit::{CodeStatistics, DeviceStatus, Modality, Stats};

use crate::curves;
use crate::failure::Result;
use crate::output::{Table, bytes, count};
use crate::session::Session;

/// Arguments of `stats`.
#[derive(Args)]
#[command(after_help = "Examples:
  twinbit stats photos.db
  twinbit stats photos.db --plot codes.svg

What is said of codes goes by a sample of up to 4,096 records: bits should be set in half of
them and say different things, and two codes should differ in about half of their bits. When
these figures get worse than they were after training, train anew.")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Draws how often bits are set, and the distances between codes
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// The line of `stats --json`.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    stats: &'a Stats,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_codes: Option<&'a CodeStatistics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_codes: Option<&'a CodeStatistics>,
    device: DeviceStatus,
}

/// Prints sizes and counts.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    curves::check_name(arguments.plot.as_deref())?;
    let database = session.read(&arguments.db)?;
    let collection = session.collection(&database)?;
    let stats = collection.stats()?;
    let snapshot = collection.snapshot()?;
    let codes = match stats.model.is_some() || snapshot.schema().has_external_codes() {
        true => [snapshot.code_statistics(Modality::Image)?, snapshot.code_statistics(Modality::Text)?],
        false => [None, None],
    };
    let [image_codes, text_codes] = codes.each_ref().map(Option::as_ref);
    if let Some(path) = &arguments.plot {
        curves::write_codes(path, image_codes, text_codes)?;
    }
    let device = database.device_status();
    if session.output.is_json() {
        return session.output.object(&Shown { stats: &stats, image_codes, text_codes, device });
    }
    let mut table = Table::new([stats.collection.as_str(), ""]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("bits", stats.bits.to_string());
    row("records", count(stats.rows));
    row("deleted, not yet removed", count(stats.deleted));
    row("segments", count(stats.segments));
    row("rows not yet in a segment", count(stats.fresh_rows));
    row("rows on disk", bytes(stats.bytes.rows));
    row("codes on disk", bytes(stats.bytes.codes));
    row("indexes of codes on disk", bytes(stats.bytes.search_index));
    row("indexes of fields on disk", bytes(stats.bytes.index));
    row("catalog on disk", bytes(stats.bytes.catalog));
    row("models on disk", bytes(stats.bytes.models));
    row("model", stats.model.map_or_else(|| "none".to_owned(), |model| model.to_string()));
    row("kernel", stats.kernel.to_owned());
    row("card", on_card(&device));
    for (name, codes) in [("image codes", image_codes), ("text codes", text_codes)] {
        let Some(codes) = codes else { continue };
        row(
            name,
            format!(
                "bits off balance by {:.3}, {} nearly constant; correlation {:.3}, at most {:.2}; mean distance {:.1}",
                codes.imbalance(),
                codes.constant_bits,
                codes.mean_correlation,
                codes.largest_correlation,
                codes.mean_distance()
            ),
        );
    }
    session.output.table(&table)
}

/// What is on the card, or why nothing is.
fn on_card(device: &DeviceStatus) -> String {
    match (&device.card, &device.no_card) {
        (Some(card), _) => format!(
            "{}: {} of at most {} in {} code matrices",
            card.name,
            bytes(device.resident_bytes),
            bytes(device.budget_bytes),
            count(device.resident_matrices as u64)
        ),
        (None, reason) => format!("none: {}", reason.as_deref().unwrap_or("not asked for")),
    }
}
