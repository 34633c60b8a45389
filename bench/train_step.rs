//! Training steps and encoding at the widths of MIRFLICKR-25K: 1280-H-H-128 for images, 1386-H-128 for
//! tags (five ones a row), batch 256, 4096 negatives, 10,000 pairs.
//!
//! ```sh
//! cargo bench --workspace --bench train_step -- --hidden 1024 --steps 20
//! ```
//!
//! Prints one line of JSON: the median step of the warm-up and with the bank, and what a row of either
//! side costs to encode, all in milliseconds. `bench/peers/train.py` runs it in turns with PyTorch;
//! `RAYON_NUM_THREADS` sets the number of threads.

use std::time::Instant;

use twinbit_bench::Random;
use twinbit_hashing::{
    Batch, Features, HashModel, Keys, Layer, MemoryBank, Network, StepSettings, TrainConfig, Trainer,
    TrainingState,
};
use twinbit_kernels::{CodeBits, Modality};

type Failure = Box<dyn std::error::Error>;

const PAIRS: usize = 10_000;
const WIDTHS: [usize; 2] = [1280, 1386];
const TAGS: usize = 5;

/// Numbers uniform in `from..to`.
fn numbers(random: &mut Random, count: usize, from: f32, to: f32) -> Vec<f32> {
    let mut draw = || (random.word() >> 40) as f32 / (1 << 24) as f32;
    (0..count).map(|_| from + (to - from) * draw()).collect()
}

/// Features of both sides: pooled activations, which are never negative, and tag vectors.
fn features(random: &mut Random, rows: usize) -> [Vec<f32>; 2] {
    let image = numbers(random, rows * WIDTHS[0], 0.0, 1.0);
    let mut text = vec![0.0; rows * WIDTHS[1]];
    for row in text.chunks_exact_mut(WIDTHS[1]) {
        for _ in 0..TAGS {
            row[random.word() as usize % WIDTHS[1]] = 1.0;
        }
    }
    [image, text]
}

fn network(random: &mut Random, widths: &[usize]) -> Result<Network<f32>, Failure> {
    let layers = widths.windows(2).map(|pair| {
        let (inputs, outputs) = (pair[0], pair[1]);
        let bound = 1.0 / (inputs as f32).sqrt();
        let weight = numbers(random, inputs * outputs, -bound, bound);
        Layer { inputs, outputs, weight, bias: numbers(random, outputs, -bound, bound) }
    });
    Ok(Network::new(layers.collect())?)
}

/// Milliseconds of `rounds` calls, the median, after one that is not counted.
fn median(rounds: usize, mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    call()?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begin = Instant::now();
        call()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// The steps of the warm-up and those with the bank.
fn steps(config: &TrainConfig, rounds: usize) -> Result<[f64; 2], Failure> {
    let mut random = Random::new(1);
    let bits = config.bits.bits();
    let image = network(&mut random, &[WIDTHS[0], config.hidden, config.hidden, bits])?;
    let text = network(&mut random, &[WIDTHS[1], config.hidden, bits])?;
    let bank = MemoryBank::new(config.bits, numbers(&mut random, PAIRS * bits, -1.0, 1.0))?;
    let mut state = TrainingState::new(StepSettings::from(config), image, text, bank)?;
    let pairs: Vec<u32> = (0..config.batch as u32).collect();
    let mut row = || (random.word() % PAIRS as u64) as u32;
    let mut keys = Vec::with_capacity(config.batch * (config.negatives + 1));
    for &own in &pairs {
        keys.push(own);
        keys.extend((0..config.negatives).map(|_| row()));
    }
    let features = features(&mut random, config.batch);
    let mut times = [0.0; 2];
    for (time, keys) in times.iter_mut().zip([Keys::Batch, Keys::Bank(&keys)]) {
        *time = median(rounds, || {
            let [image, text] = features.clone();
            let pass = state.differentiate(Batch { pairs: &pairs, image, text, keys })?;
            Ok(state.apply(&pass, config.learning_rate)?)
        })?;
    }
    Ok(times)
}

/// A model of these widths, trained for one step.
fn model(config: &TrainConfig) -> Result<HashModel, Failure> {
    let [image, text] = features(&mut Random::new(2), config.batch);
    let pairs = Features::new(&image, WIDTHS[0], &text, WIDTHS[1])?;
    let config = TrainConfig { epochs: 1, ..config.clone() };
    Ok(Trainer::new(config).held_out(0).fit(&pairs, &mut ())?.model)
}

/// Milliseconds a row, image side and text side.
fn encoding(config: &TrainConfig, rows: usize, rounds: usize) -> Result<[f64; 2], Failure> {
    let model = model(config)?;
    let features = features(&mut Random::new(3), rows);
    let mut times = [0.0; 2];
    for ((time, modality), features) in times.iter_mut().zip(Modality::ALL).zip(&features) {
        let encode = || {
            let _codes = model.encode(modality, features)?;
            Ok(())
        };
        *time = median(rounds, encode)? / rows as f64;
    }
    Ok(times)
}

#[expect(clippy::print_stdout, reason = "a program prints its results")]
fn main() -> Result<(), Failure> {
    let mut config = TrainConfig { bits: CodeBits::B128, ..TrainConfig::default() };
    let (mut rounds, mut rows) = (20, 2048);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?.parse()?;
        match name.as_str() {
            "--hidden" => config.hidden = value,
            "--steps" => rounds = value.max(1),
            "--rows" => rows = value.max(1),
            _ => return Err(format!("{name} is no option: --hidden, --steps, --rows").into()),
        }
    }
    let [warm_up, bank] = steps(&config, rounds)?;
    let [image, text] = encoding(&config, rows, rounds.min(5))?;
    println!(
        "{}",
        serde_json::json!({
            "hidden": config.hidden, "warm_up": warm_up, "bank": bank,
            "encode_image": image, "encode_text": text,
        })
    );
    Ok(())
}
