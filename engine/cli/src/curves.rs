//! What is drawn: the course of training, precision over recall, and what codes are like.

use std::path::Path;

use twinbit::{CodeStatistics, DirectionScores, EpochRecord, Evaluation, Measure, TrainingRecord};

use crate::failure::{Failure, Result};
use crate::figure::{Line, Panel, svg};

/// Refuses a name that is not that of a drawing, or whose folder is not there, before the work begins.
pub fn check_name(path: Option<&Path>) -> Result {
    let Some(path) = path else { return Ok(()) };
    if path.extension().is_none_or(|end| end != "svg") {
        return Err(Failure::new(format!("--plot: {} must end in .svg", path.display())));
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => {
            Err(Failure::new(format!("--plot: there is no folder {}; make it first", folder.display())))
        }
        None => Ok(()),
    }
}

/// What validation scores are called.
pub fn measure_name(measure: Option<Measure>) -> &'static str {
    match measure {
        Some(Measure::MeanAveragePrecision) => "MAP",
        Some(Measure::RecallAt10) => "recall@10",
        _ => "score",
    }
}

/// Draws loss and, where there are any, validation scores by epoch.
pub fn write_training(path: &Path, training: &TrainingRecord) -> Result {
    let epochs = &training.epochs;
    let line = |name: &str, value: &dyn Fn(&EpochRecord) -> Option<f64>| {
        let points = (1..).zip(epochs).filter_map(|(number, epoch)| Some((f64::from(number), value(epoch)?)));
        Line { name: name.to_owned(), points: points.collect() }
    };
    let mut panels = vec![Panel {
        title: "Training".to_owned(),
        x: "epoch",
        y: "loss",
        lines: vec![line("loss", &|epoch| Some(epoch.loss))],
    }];
    if epochs.iter().any(|epoch| epoch.validation.is_some()) {
        panels.push(Panel {
            title: format!("Validation, {}", measure_name(training.measure)),
            x: "epoch",
            y: "score",
            lines: vec![
                line("image to text", &|epoch| Some(epoch.validation?.image_to_text)),
                line("text to image", &|epoch| Some(epoch.validation?.text_to_image)),
            ],
        });
    }
    write(path, &panels)
}

/// Draws precision over recall, both ways, by ranking and by hash lookup.
pub fn write_precision_recall(path: &Path, evaluation: &Evaluation, bits: usize) -> Result {
    let panel = |title: &str, direction: &DirectionScores| {
        let scores = &direction.scores;
        let ranking = scores.ranking.iter().map(|point| (point.recall, point.precision)).collect();
        let lookup = scores.lookup.iter();
        // Within a radius that finds nothing there is no precision.
        let lookup = lookup.filter_map(|point| Some((point.recall, point.precision?))).collect();
        let line = |name: &str, points| Line { name: name.to_owned(), points };
        Panel {
            title: format!("{title}, {bits} bits"),
            x: "recall",
            y: "precision",
            lines: vec![line("Hamming ranking", ranking), line("hash lookup", lookup)],
        }
    };
    write(
        path,
        &[
            panel("Image to text", &evaluation.image_to_text),
            panel("Text to image", &evaluation.text_to_image),
        ],
    )
}

/// Draws how often each bit is set, from the rarest to the most frequent, and the distances between codes.
pub fn write_codes(path: &Path, image: Option<&CodeStatistics>, text: Option<&CodeStatistics>) -> Result {
    let sides: Vec<(&str, &CodeStatistics)> = [("image", image), ("text", text)]
        .into_iter()
        .filter_map(|(name, codes)| Some((name, codes?)))
        .collect();
    if sides.is_empty() {
        return Err(Failure::new("--plot: there are no codes to draw yet; train a model first"));
    }
    let panel = |title: &str, x, y, points: &dyn Fn(&CodeStatistics) -> Vec<(f64, f64)>| {
        let line = |(name, codes): &(&str, &CodeStatistics)| Line {
            name: (*name).to_owned(),
            points: points(codes),
        };
        Panel { title: title.to_owned(), x, y, lines: sides.iter().map(line).collect() }
    };
    let balance = |codes: &CodeStatistics| {
        let mut shares = codes.ones.clone();
        shares.sort_by(f64::total_cmp);
        shares.into_iter().enumerate().map(|(bit, share)| (bit as f64, share)).collect()
    };
    let distances = |codes: &CodeStatistics| {
        let pairs = codes.distances.iter().sum::<u64>().max(1) as f64;
        codes.distances.iter().enumerate().map(|(at, count)| (at as f64, *count as f64 / pairs)).collect()
    };
    write(
        path,
        &[
            panel("Balance of the bits", "bits, rarest first", "share of codes", &balance),
            panel("Distances of two codes", "bits that differ", "share of pairs", &distances),
        ],
    )
}

fn write(path: &Path, panels: &[Panel]) -> Result {
    std::fs::write(path, svg(panels)).map_err(|error| Failure::file(path, "write the figure", &error))
}
