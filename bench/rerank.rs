//! What `search --rerank R` is worth: MAP and recall when the nearest R items of each query are ordered
//! anew by the networks' outputs, before they become bits.
//!
//! ```sh
//! cargo bench --workspace --bench rerank -- --model M --image X.npy --text Y.npy --split S.npy --label L.npy
//! cargo bench --workspace --bench rerank -- --model M --image X.npy --captions captions.tsv --split S.npy --part 2
//! ```
//!
//! The first form has queries (1 in the split) look among the other pairs (0), by labels. The second takes
//! only the images of one part of the split and their captions, which look for each other; the captions
//! are tab-separated lines of index, file, split, number, caption, below a header. `--model` is a file
//! that `train --save` wrote. Without data it says what it needs.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use rayon::prelude::*;
use twinbit::{Array, CodesBuf, LabelMatrix, Labels, Modality, Model};
use twinbit_bench::arguments;

type Failure = Box<dyn std::error::Error>;

/// How many items are looked at again.
const COUNTS: [usize; 4] = [0, 10, 100, 1000];
/// Cut-offs of recall.
const CUTOFFS: [usize; 3] = [1, 5, 10];

/// Rows of one modality under the model.
struct Side {
    codes: Vec<Vec<u8>>,
    outputs: Vec<Vec<f32>>,
}

/// Queries, items, and which items are right for a query.
struct Task<'a> {
    queries: &'a Side,
    items: &'a Side,
    relevant: &'a (dyn Fn(usize, usize) -> bool + Sync),
}

impl Side {
    fn new(model: &Model, modality: Modality, features: &[f32]) -> Result<Self, Failure> {
        let codes: CodesBuf = model.encode(modality, features)?;
        let outputs = model.outputs(modality, features)?;
        let outputs = outputs.chunks_exact(model.spec().bits.bits()).map(<[f32]>::to_vec).collect();
        Ok(Self { codes: (0..codes.rows()).map(|row| codes.as_codes().row(row)).collect(), outputs })
    }
}

impl Task<'_> {
    /// MAP over all ranks and recall at the cut-offs, the first `count` items ordered anew; where `kept`
    /// is false by the items' bits alone.
    fn scores(&self, count: usize, kept: bool) -> [f64; 1 + CUTOFFS.len()] {
        let scored: Vec<[f64; 1 + CUTOFFS.len()]> = (0..self.queries.codes.len())
            .into_par_iter()
            .filter_map(|query| self.score(query, &self.ranking(query, count, kept)))
            .collect();
        std::array::from_fn(|at| scored.iter().map(|scores| scores[at]).sum::<f64>() / scored.len() as f64)
    }

    fn ranking(&self, query: usize, count: usize, kept: bool) -> Vec<usize> {
        let code = &self.queries.codes[query];
        let distance = |item: &Vec<u8>| code.iter().zip(item).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        let distances: Vec<u32> = self.items.codes.iter().map(distance).collect();
        let mut order: Vec<usize> = (0..distances.len()).collect();
        order.sort_by_key(|&item| distances[item]);
        let outputs = &self.queries.outputs[query];
        let similarity = |item: usize| -> f32 {
            if kept {
                return outputs.iter().zip(&self.items.outputs[item]).map(|(a, b)| a * b).sum();
            }
            let set = |at: usize| self.items.codes[item][at / 8] >> (7 - at % 8) & 1 == 1;
            outputs.iter().enumerate().map(|(at, value)| if set(at) { *value } else { -value }).sum()
        };
        let first = order.iter().take(count).map(|&item| (similarity(item), item));
        let mut first: Vec<(f32, usize)> = first.collect();
        first.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        for (place, (_, item)) in order.iter_mut().zip(first) {
            *place = item;
        }
        order
    }

    /// None where no item is right.
    fn score(&self, query: usize, ranking: &[usize]) -> Option<[f64; 1 + CUTOFFS.len()]> {
        let right = (0..).zip(ranking).filter(|(_, item)| (self.relevant)(query, **item));
        let ranks: Vec<usize> = right.map(|(rank, _)| rank).collect();
        let first = *ranks.first()?;
        let precisions = (1..).zip(&ranks).map(|(found, &rank)| f64::from(found) / (rank + 1) as f64);
        let precision = precisions.sum::<f64>() / ranks.len() as f64;
        let recall = CUTOFFS.map(|k| if first < k { 1.0 } else { 0.0 });
        Some(std::array::from_fn(|at| if at == 0 { precision } else { recall[at - 1] }))
    }

    fn print(&self, name: &str) {
        for kept in [true, false] {
            for count in COUNTS.into_iter().filter(|count| kept || *count > 0) {
                let [map, recall @ ..] = self.scores(count, kept);
                let recall = recall.map(|share| format!("{share:.3}")).join(" / ");
                println!("| {name} | {count} | {} | {map:.4} | {recall} |", if kept { "yes" } else { "no" });
            }
        }
    }
}

/// Some rows of an array.
fn rows(array: &Array, wanted: &[u32]) -> Result<Vec<f32>, Failure> {
    let mut values = vec![0.0; wanted.len() * array.width()];
    for (row, values) in wanted.iter().zip(values.chunks_exact_mut(array.width())) {
        array.read_rows_f32(*row as usize..*row as usize + 1, values)?;
    }
    Ok(values)
}

/// Rows of the split with this value.
fn part(split: &Array, value: u8) -> Result<Vec<u32>, Failure> {
    Ok((0..).zip(split.to_u8()?).filter(|(_, part)| *part == value).map(|(row, _)| row).collect())
}

/// Pairs with labels: queries among the pairs trained on.
fn labeled(model: &Model, image: &Array, split: &Array, text: &str, label: &str) -> Result<(), Failure> {
    let text = Array::open(text)?;
    let labels = LabelMatrix::new(&Array::open(label)?)?;
    let (queries, items) = (part(split, 1)?, part(split, 0)?);
    let side = |modality, array: &Array, wanted: &[u32]| Side::new(model, modality, &rows(array, wanted)?);
    let of: [Labels; 2] = [labels.of(&queries)?, labels.of(&items)?];
    let relevant = |query: usize, item: usize| of[0].relevant(query, &of[1], item);
    let [queries, items] = [&queries, &items].map(|wanted| {
        Ok::<_, Failure>([side(Modality::Image, image, wanted)?, side(Modality::Text, &text, wanted)?])
    });
    let ([image_queries, text_queries], [images, texts]) = (queries?, items?);
    Task { queries: &image_queries, items: &texts, relevant: &relevant }.print("image to text");
    Task { queries: &text_queries, items: &images, relevant: &relevant }.print("text to image");
    Ok(())
}

/// Images with captions: each looks for the other among those of one part.
fn captioned(model: &Model, image: &Array, split: &Array, captions: &str, value: u8) -> Result<(), Failure> {
    let featurizer = model.text_featurizer().ok_or("the model takes no text, only features")?;
    let images = part(split, value)?;
    let (mut owners, mut features) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(captions)?.lines().skip(1) {
        let mut cells = line.splitn(5, '\t');
        let index: u32 = cells.next().unwrap_or_default().parse()?;
        if let (Ok(owner), Some(caption)) = (images.binary_search(&index), cells.nth(3)) {
            let mut row = vec![0.0; featurizer.width()];
            featurizer.encode(caption, &mut row)?;
            owners.push(owner);
            features.extend(row);
        }
    }
    let images = Side::new(model, Modality::Image, &rows(image, &images)?)?;
    let texts = Side::new(model, Modality::Text, &features)?;
    let to_image = |caption: usize, image: usize| owners[caption] == image;
    let to_text = |image: usize, caption: usize| owners[caption] == image;
    Task { queries: &texts, items: &images, relevant: &to_image }.print("text to image");
    Task { queries: &images, items: &texts, relevant: &to_text }.print("image to text");
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let get = |name: &str| arguments.get(name).map(String::as_str);
    let (Some(model), Some(image), Some(split)) = (get("model"), get("image"), get("split")) else {
        println!("skipped: give --model, --image, --split, and --text and --label, or --captions and --part");
        return Ok(());
    };
    let model = Model::from_bytes(&std::fs::read(model)?)?;
    let (image, split) = (Array::open(image)?, Array::open(split)?);
    println!("| queries | R | inputs kept | MAP | recall@1 / 5 / 10 |\n|---|---|---|---|---|");
    match (get("text"), get("label"), get("captions")) {
        (Some(text), Some(label), _) => labeled(&model, &image, &split, text, label),
        (_, _, Some(captions)) => {
            captioned(&model, &image, &split, captions, get("part").unwrap_or("1").parse()?)
        }
        _ => Err("give --text and --label, or --captions".into()),
    }
}
