//! Training and encoding on a card at the paper's size: 4096 and 1386 features, width 8192, 128 bits,
//! batches of 256 with 4,096 negatives of 18,015 pairs.
//!
//! Prints one JSON object. A step's time is the least of several runs of 50 queued steps, over 50: captured
//! as a CUDA graph, and one by one. Parts are timed in a run of their own that waits for every kernel and
//! product; each contains a wait, so that they add up to more than a step.
#![allow(clippy::print_stdout, reason = "the report goes to standard output")]

mod least_time;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use least_time::least_time;
use twinbit_kernels::cuda::train::{
    BatchKeys, DeviceFeatures, Encoder, KeySource, Layer, Multiply, Optimizer, Pairs, Precision, Product,
    RankingInput, RankingLoss, StepSettings, TrainingState, TrainingStep,
};
use twinbit_kernels::cuda::{Captured, Card, CudaError, Identity, Launch, Machine};

const PAIRS: usize = 18_015;
const BATCH: usize = 256;
const BITS: usize = 128;
const HIDDEN: usize = 8192;
const FEATURES: [usize; 2] = [4096, 1386];
const STEPS: usize = 50;
const ENCODED: usize = 100_000;

fn main() {
    let card = match Card::open(0) {
        Ok(card) => Timed { card, parts: Mutex::new(None) },
        Err(reason) => {
            println!("{{\"skipped\": \"no device ({reason})\"}}");
            return;
        }
    };
    let mut numbers = 1;
    let mut draw = |count: usize, bound: f32| -> Vec<f32> {
        (0..count).map(|_| (next(&mut numbers) * 2.0 - 1.0) * bound).collect()
    };
    let features = FEATURES.map(|width| draw(PAIRS * width, 1.0));
    let networks = [[FEATURES[0], HIDDEN, HIDDEN, BITS].as_slice(), &[FEATURES[1], HIDDEN, BITS]]
        .map(|widths| widths.windows(2).map(|pair| layer(pair[0], pair[1], &mut draw)).collect::<Vec<_>>());
    let bank: Vec<f32> = draw(PAIRS * BITS, 1.0).into_iter().map(|v| v.signum() / 128_f32.sqrt()).collect();
    let resident = [0, 1].map(|side| DeviceFeatures::upload(&card, FEATURES[side], &features[side]).unwrap());
    let state = TrainingState::new(networks, bank);
    let mut lines = Vec::new();
    for precision in [Precision::Float32, Precision::Tf32, Precision::Bf16] {
        lines.push(steps(&card, precision, &state, &resident));
        let rows: Vec<Vec<f32>> =
            features.iter().zip(FEATURES).map(|(all, width)| repeated(all, ENCODED * width)).collect();
        let seconds = [0, 1].map(|side| encode(&card, precision, &state.networks[side], &rows[side]));
        lines.push(format!(
            "{{\"encode\": \"{precision:?}\", \"rows\": {ENCODED}, \"image_seconds\": {:.4}, \
             \"text_seconds\": {:.4}, \"pairs_per_minute\": {:.4e}}}",
            seconds[0],
            seconds[1],
            ENCODED as f64 * 60.0 / (seconds[0] + seconds[1])
        ));
    }
    println!("{{\"device\": \"{}\", \"training\": [\n  {}\n]}}", card.card.name(), lines.join(",\n  "));
}

/// The time of a step, in a warm-up and after it, and of its parts.
fn steps(
    card: &Timed,
    precision: Precision,
    state: &TrainingState,
    features: &[DeviceFeatures<Timed>; 2],
) -> String {
    let settings = StepSettings {
        batch: BATCH,
        negatives: 4096,
        alpha: 0.7,
        temperature: 0.9,
        keys: KeySource::Binary,
        ranking: RankingLoss::Global { margin: 0.2, shift: 0.1, temperature: 1.0 },
        ranking_input: RankingInput::Outputs,
        momentum: 0.4,
        clip_norm: 1.0,
        weight_decay: 1e-6,
        optimizer: Optimizer::Adam,
        neighbors: 0,
        neighbor_share: 0.0,
        dropout: 0.0,
        seed: 1,
        precision,
    };
    let pairs = Pairs { features: features.each_ref(), neighbors: &[] };
    let mut training = TrainingStep::new(card, settings, state, pairs).unwrap();
    let warm_up = least_time(|| run(card, &mut training, BatchKeys::Own)) / STEPS as f64;
    let bank = least_time(|| run(card, &mut training, BatchKeys::Drawn)) / STEPS as f64;
    let mut training = training.one_by_one();
    let launched = least_time(|| run(card, &mut training, BatchKeys::Drawn)) / STEPS as f64;
    card.set_parts(Some(BTreeMap::new()));
    run(card, &mut training, BatchKeys::Drawn);
    let parts = card.set_parts(None).unwrap_or_default();
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, seconds)| format!("\"{name}\": {:.4}", seconds * 1e3 / STEPS as f64))
        .collect();
    let losses = training.losses().unwrap();
    assert!(losses.iter().all(|losses| losses.total.is_finite()), "finite losses");
    format!(
        "{{\"precision\": \"{precision:?}\", \"warm_up_ms\": {:.4}, \"step_ms\": {:.4}, \
         \"one_by_one_ms\": {:.4}, \"parts_ms\": {{{}}}}}",
        warm_up * 1e3,
        bank * 1e3,
        launched * 1e3,
        parts.join(", ")
    )
}

/// Do steps of random batches, and wait for them.
fn run(card: &Timed, training: &mut TrainingStep<'_, Timed>, keys: BatchKeys<'_>) {
    let batches: Vec<u32> = (0..STEPS * BATCH).map(|i| (i * 7 % PAIRS) as u32).collect();
    training.load(&batches, 1e-4).unwrap();
    (0..STEPS).for_each(|_| training.next_step(keys).unwrap());
    card.wait();
}

/// Seconds to encode rows from host memory to codes there.
fn encode(card: &Timed, precision: Precision, layers: &[Layer], rows: &[f32]) -> f64 {
    let mut encoder = Encoder::new(card, layers, Encoder::<Timed>::ROWS, precision).unwrap();
    least_time(|| {
        encoder.encode(rows).unwrap();
    })
}

/// A card that, when asked to, waits for every kernel and product and adds up their times by name.
#[derive(Debug)]
struct Timed {
    card: Card,
    parts: Mutex<Option<BTreeMap<&'static str, f64>>>,
}

impl Timed {
    /// Take note of times from now on, or stop; what was noted before.
    fn set_parts(&self, parts: Option<BTreeMap<&'static str, f64>>) -> Option<BTreeMap<&'static str, f64>> {
        std::mem::replace(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner), parts)
    }

    fn wait(&self) {
        let mut memory = self.card.allocate(4).unwrap();
        self.card.write(&mut memory, 0, &[0; 4]).unwrap();
        self.card.read(&memory, 0, &mut [0; 4]).unwrap();
    }

    fn timed(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(parts) = &mut *parts else { return work() };
        let start = Instant::now();
        work()?;
        self.wait();
        *parts.entry(name).or_default() += start.elapsed().as_secs_f64();
        Ok(())
    }
}

// SAFETY: everything is the card's.
unsafe impl Machine for Timed {
    type Memory = <Card as Machine>::Memory;

    fn identity(&self) -> Identity {
        self.card.identity()
    }

    fn allocate(&self, bytes: usize) -> Result<Self::Memory, CudaError> {
        self.card.allocate(bytes)
    }

    fn write(&self, memory: &mut Self::Memory, offset: usize, bytes: &[u8]) -> Result<(), CudaError> {
        self.card.write(memory, offset, bytes)
    }

    fn read(&self, memory: &Self::Memory, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.card.read(memory, offset, bytes)
    }

    unsafe fn launch(&self, launch: Launch, argument: &[u8]) -> Result<(), CudaError> {
        // SAFETY: the caller's promise is the same.
        self.timed(launch.kernel.name(), || unsafe { self.card.launch(launch, argument) })
    }

    fn capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured> {
        self.card.capture(work)
    }

    unsafe fn replay(&self, captured: &Captured) -> Result<(), CudaError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.card.replay(captured) }
    }

    fn busy_blocks(&self) -> u32 {
        self.card.busy_blocks()
    }
}

// SAFETY: as above.
unsafe impl Multiply for Timed {
    unsafe fn multiply(&self, product: Product) -> Result<(), CudaError> {
        // SAFETY: the caller's promise is the same.
        self.timed("matrix products", || unsafe { self.card.multiply(product) })
    }
}

/// A layer with weights as training starts with.
fn layer(inputs: usize, outputs: usize, draw: &mut impl FnMut(usize, f32) -> Vec<f32>) -> Layer {
    let bound = 1.0 / (inputs as f32).sqrt();
    Layer { inputs, outputs, weight: draw(inputs * outputs, bound), bias: draw(outputs, bound) }
}

/// As many values, the same over and over.
fn repeated(values: &[f32], count: usize) -> Vec<f32> {
    values.iter().copied().cycle().take(count).collect()
}

/// Uniform in 0..1 (SplitMix64).
fn next(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 40) as f32 / (1 << 24) as f32
}
