//! What looking at the first hits again brings: scores by how many are looked at, with the inputs of the
//! records kept and without.
//!
//! ```sh
//! cargo bench --workspace --bench rerank -- --image X.npy --text Y.npy --split S.npy --bits 16,64,128 \
//!     [--label L.npy] [--hidden 1024] [--epochs 10] [--seed 0]
//! ```
//!
//! `--test N` may stand for `--split`. With labels the database are the training rows, and the score is MAP
//! over the first 100 hits; without, the database are the test rows themselves, and the scores are
//! recall@1 and recall@10. Without data it says what it needs.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::collections::HashMap;
use std::time::Instant;

use twinbit::{
    Array, ArrayPairs, CodeBits, Database, IdKind, Input, Modality, Record, RecordId, Schema, Split,
    SplitPairs, TrainConfig,
};

type Failure = Box<dyn std::error::Error>;

/// How many hits are asked for.
const HITS: usize = 100;
/// How many are looked at again; 0 is the plain answer.
const LOOKED_AT: [usize; 4] = [0, 20, 100, 500];

/// The rows of an array.
struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    fn open(path: &str) -> Result<Rows, Failure> {
        let array = Array::open(path)?;
        Ok(Rows { values: array.to_f32()?, width: array.width() })
    }

    fn row(&self, row: u32) -> &[f32] {
        &self.values[row as usize * self.width..][..self.width]
    }

    /// Whether two rows of labels have one in common.
    fn share(&self, first: u32, second: u32) -> bool {
        self.row(first).iter().zip(self.row(second)).any(|(a, b)| a * b > 0.0)
    }
}

fn main() -> Result<(), Failure> {
    let mut given = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut arguments = HashMap::new();
    while let Some(name) = given.next() {
        arguments.insert(name.clone(), given.next().ok_or_else(|| format!("{name} needs a value"))?);
    }
    let [Some(image), Some(text)] = ["--image", "--text"].map(|name| arguments.get(name)) else {
        println!("no data: give --image X.npy --text Y.npy and --split S.npy or --test N");
        return Ok(());
    };
    let number = |name: &str, default: usize| match arguments.get(name) {
        Some(text) => text.parse::<usize>(),
        None => Ok(default),
    };
    let pairs = ArrayPairs::new(Array::open(image)?, Array::open(text)?)?;
    let rows = Array::open(image)?.rows();
    let split = match arguments.get("--split") {
        Some(path) => Split::from_array(&Array::open(path)?, rows)?,
        None => Split::last(rows, number("--test", 1_000)?)?,
    };
    let labels = arguments.get("--label").map(|path| Rows::open(path)).transpose()?;
    let features = [Rows::open(image)?, Rows::open(text)?];
    let pairs = SplitPairs::new(pairs, split)?;
    for bits in arguments.get("--bits").map_or("128", String::as_str).split(',') {
        let config = TrainConfig {
            bits: CodeBits::new(bits.parse()?)?,
            hidden: number("--hidden", 1_024)?,
            epochs: number("--epochs", 10)?.try_into()?,
            seed: number("--seed", 0)? as u64,
            ..TrainConfig::default()
        };
        let bits = config.bits;
        let model = pairs.train(config, &mut ())?.model;
        for keep in [true, false] {
            let folder = tempfile::tempdir()?;
            let database = Database::open(folder.path())?;
            let [image, text] = &features;
            let schema = Schema::new(bits)
                .ids(IdKind::U64)
                .image_features(image.width)
                .text_features(text.width)
                .keep_inputs(keep);
            let collection = database.create_collection("pairs", schema)?;
            collection.install(&model)?;
            let stored = if labels.is_some() { &pairs.split().training } else { &pairs.split().queries };
            let mut writer = collection.writer()?;
            writer.extend(
                stored
                    .iter()
                    .map(|row| Record::new(u64::from(*row)).image(image.row(*row)).text(text.row(*row))),
            )?;
            writer.commit()?;
            for count in LOOKED_AT {
                for modality in Modality::ALL {
                    let side = &features[modality.index()];
                    let queries = &pairs.split().queries;
                    let inputs = queries.iter().map(|row| Input::features(side.row(*row))).collect();
                    let query = collection.snapshot()?.query_many(modality, inputs).limit(HITS);
                    let query = if count > 0 { query.rerank(count) } else { query };
                    let start = Instant::now();
                    let hits: Vec<Vec<u32>> = query
                        .run_many()?
                        .iter()
                        .map(|hits| {
                            hits.iter()
                                .map(|hit| match hit.id() {
                                    RecordId::U64(id) => *id as u32,
                                    RecordId::Str(_) => u32::MAX,
                                })
                                .collect()
                        })
                        .collect();
                    let milliseconds = start.elapsed().as_secs_f64() * 1e3 / queries.len() as f64;
                    let scores = scores(queries, &hits, labels.as_ref());
                    println!(
                        "{} bits, inputs {}, first {count:3} looked at again, {modality} to {}: {scores}, {milliseconds:.2} ms a query",
                        bits.bits(),
                        if keep { "kept" } else { "not kept" },
                        modality.other(),
                    );
                }
            }
        }
    }
    Ok(())
}

fn scores(queries: &[u32], hits: &[Vec<u32>], labels: Option<&Rows>) -> String {
    let mean = |of: &dyn Fn(u32, &[u32]) -> f64| {
        let all = queries.iter().zip(hits).map(|(query, hits)| of(*query, hits));
        all.sum::<f64>() / queries.len() as f64
    };
    let Some(labels) = labels else {
        let recall =
            |k: usize| mean(&|query, hits| f64::from(u8::from(hits.iter().take(k).any(|hit| *hit == query))));
        return format!("recall@1 {:.4}, recall@10 {:.4}", recall(1), recall(10));
    };
    let precision = mean(&|query, hits| {
        let (mut found, mut sum) = (0.0, 0.0);
        for (rank, hit) in hits.iter().enumerate() {
            if labels.share(query, *hit) {
                found += 1.0;
                sum += found / (rank as f64 + 1.0);
            }
        }
        if found > 0.0 { sum / found } else { 0.0 }
    });
    format!("MAP@{HITS} {precision:.4}")
}
