//! One UCCH training step at the default width: 1280-1024-1024-128 for images, 1386-1024-128 for
//! texts, batch 256, 4096 negatives, 10,000 pairs. `TRAIN_HIDDEN` overrides the hidden width,
//! `RAYON_NUM_THREADS` the number of threads.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use twinbit_bench::Random;
use twinbit_hashing::{Batch, Keys, Layer, MemoryBank, Network, StepSettings, TrainConfig, TrainingState};
use twinbit_kernels::CodeBits;

const PAIRS: usize = 10_000;
const WIDTHS: [usize; 2] = [1280, 1386];

/// Numbers uniform in +-bound.
fn numbers(random: &mut Random, count: usize, bound: f32) -> Vec<f32> {
    let mut draw = || (random.word() >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..count).map(|_| draw() * bound).collect()
}

fn network(random: &mut Random, widths: &[usize]) -> Network<f32> {
    let layers = widths.windows(2).map(|pair| {
        let (inputs, outputs) = (pair[0], pair[1]);
        let bound = 1.0 / (inputs as f32).sqrt();
        let weight = numbers(random, inputs * outputs, bound);
        Layer { inputs, outputs, weight, bias: numbers(random, outputs, bound) }
    });
    Network::new(layers.collect()).expect("layers that fit")
}

fn train_step(criterion: &mut Criterion) {
    let config = TrainConfig::default();
    let hidden = std::env::var("TRAIN_HIDDEN").ok().and_then(|hidden| hidden.parse().ok());
    let hidden = hidden.unwrap_or(config.hidden);
    let bits = CodeBits::B128;
    let mut random = Random::new(1);
    let image = network(&mut random, &[WIDTHS[0], hidden, hidden, bits.bits()]);
    let text = network(&mut random, &[WIDTHS[1], hidden, bits.bits()]);
    let bank = numbers(&mut random, PAIRS * bits.bits(), 1.0);
    let bank = MemoryBank::new(bits, bank).expect("whole rows");
    let settings = StepSettings::from(&config);
    let mut state = TrainingState::new(settings, image, text, bank).expect("parts that fit");

    let pairs: Vec<u32> = (0..config.batch as u32).collect();
    let mut row = || (random.word() % PAIRS as u64) as u32;
    let keys: Vec<u32> = pairs
        .iter()
        .flat_map(|&own| {
            std::iter::once(own).chain((0..config.negatives).map(|_| row()).collect::<Vec<u32>>())
        })
        .collect();
    let features = WIDTHS.map(|width| numbers(&mut random, config.batch * width, 1.0));

    let mut group = criterion.benchmark_group(format!("train step/{hidden} wide/{bits} bits"));
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (name, keys) in [("warm-up", Keys::Batch), ("bank", Keys::Bank(&keys))] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let [image, text] = features.clone();
                let batch = Batch { pairs: &pairs, image, text, keys };
                let pass = state.differentiate(batch).expect("a pass");
                state.apply(&pass, config.learning_rate).expect("an update");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, train_step);
criterion_main!(benches);
