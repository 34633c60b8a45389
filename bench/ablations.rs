//! The ablations of the paper on given data: Table 3 (each loss alone, the max-margin loss in place of
//! L_r) and Figure 12 (contrastive learning without the binary bank).
//!
//! ```sh
//! cargo bench --workspace --bench ablations -- --image X.npy --text Y.npy --label L.npy --test 2000 \
//!     --bits 16,32,64,128 --seeds 1,2,3
//! ```
//!
//! `--split S.npy` may stand for `--test`; `--hidden` and `--epochs` change the default settings. MAP of
//! the queries over all ranks, one row a variant. The numbers published for other data sets:
//! `twinbit experiment` prints them. Without data it says what it needs.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::collections::HashMap;

use twinbit::{
    Array, ArrayPairs, CodeBits, KeySource, LabelMatrix, PairSource, RankingLoss, Split, SplitPairs,
    TrainConfig,
};
use twinbit_bench::arguments;

type Failure = Box<dyn std::error::Error>;

/// Names and settings of the variants.
fn variants() -> Vec<(String, TrainConfig)> {
    let full = TrainConfig::default();
    let mut variants = vec![("only L_c".to_owned(), TrainConfig { alpha: 1.0, ..full.clone() })];
    for margin in [0.1, 0.5, 0.9] {
        let config = TrainConfig { alpha: 0.0, ranking: RankingLoss::MaxMargin, margin, ..full.clone() };
        variants.push((format!("only max-margin, m = {margin}"), config));
    }
    variants.push(("only L_r".to_owned(), TrainConfig { alpha: 0.0, ..full.clone() }));
    variants.push(("full".to_owned(), full.clone()));
    for (name, keys) in [("continuous bank", KeySource::Continuous), ("no bank", KeySource::Batch)] {
        variants.push((format!("full, {name}"), TrainConfig { keys, ..full.clone() }));
        variants.push((format!("only L_c, {name}"), TrainConfig { alpha: 1.0, keys, ..full.clone() }));
    }
    variants
}

fn open(arguments: &HashMap<String, String>) -> Result<Option<SplitPairs>, Failure> {
    let [Some(image), Some(text), Some(label)] = ["image", "text", "label"].map(|name| arguments.get(name))
    else {
        return Ok(None);
    };
    let pairs = ArrayPairs::new(Array::open(image)?, Array::open(text)?)?;
    let split = match (arguments.get("split"), arguments.get("test")) {
        (Some(path), _) => Split::from_array(&Array::open(path)?, pairs.pairs())?,
        (None, Some(rows)) => Split::last(pairs.pairs(), rows.parse()?)?,
        (None, None) => return Ok(None),
    };
    Ok(Some(SplitPairs::new(pairs, split)?.labels(LabelMatrix::new(&Array::open(label)?)?)?))
}

/// Whole numbers between commas.
fn numbers(text: &str) -> Result<Vec<u64>, Failure> {
    text.split(',').map(|number| Ok(number.trim().parse()?)).collect()
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let Some(pairs) = open(&arguments)? else {
        println!("skipped: give --image X.npy --text Y.npy --label L.npy and --test N or --split S.npy");
        return Ok(());
    };
    let list = |name: &str, default: &str| numbers(arguments.get(name).map_or(default, String::as_str));
    let (all_bits, seeds) = (list("bits", "16,32,64,128")?, list("seeds", "1")?);
    println!(
        "| variant | {} |",
        all_bits.iter().map(|bits| format!("i2t {bits} | t2i {bits}")).collect::<Vec<_>>().join(" | ")
    );
    println!("|---|{}", "---|---|".repeat(all_bits.len()));
    for (name, config) in variants() {
        let mut row = format!("| {name} |");
        for &bits in &all_bits {
            let (mut image_to_text, mut text_to_image) = (0.0, 0.0);
            for &seed in &seeds {
                let mut config = TrainConfig { bits: CodeBits::new(bits as usize)?, seed, ..config.clone() };
                config.hidden = arguments.get("hidden").map_or(Ok(config.hidden), |hidden| hidden.parse())?;
                config.epochs = arguments.get("epochs").map_or(Ok(config.epochs), |epochs| epochs.parse())?;
                let outcome = pairs.train(config, &mut ())?;
                let scores = pairs.scores(&outcome.model)?.ok_or("the split names no queries")?;
                image_to_text += scores.image_to_text / seeds.len() as f64;
                text_to_image += scores.text_to_image / seeds.len() as f64;
            }
            row += &format!(" {image_to_text:.4} | {text_to_image:.4} |");
        }
        println!("{row}");
    }
    Ok(())
}
