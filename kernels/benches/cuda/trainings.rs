//! What the training bench measures, on any machine.

use std::collections::BTreeMap;
use std::time::Instant;

use twinbit_kernels::cuda::train::{
    BatchKeys, DeviceFeatures, Encoder, KeySource, Layer, Multiply, Optimizer, Pairs, Precision,
    RankingInput, RankingLoss, StepSettings, TrainingState, TrainingStep,
};

use crate::report::{Outcome, Report, least_time};
use crate::timed::Timed;

/// How large networks and runs are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) pairs: usize,
    pub(crate) batch: usize,
    pub(crate) negatives: usize,
    pub(crate) bits: usize,
    pub(crate) hidden: usize,
    /// Values of an image and of a text.
    pub(crate) features: [usize; 2],
    /// Steps queued before the machine is waited for.
    pub(crate) steps: usize,
    /// Epochs of a run that is timed as a whole.
    pub(crate) epochs: usize,
    /// Rows that are encoded.
    pub(crate) encoded: usize,
}

impl Sizes {
    /// Networks as at the start of training: image's with three layers, text's with two.
    fn networks(&self, draw: &mut Draw) -> [Vec<Layer>; 2] {
        let [image, text] = self.features;
        [[image, self.hidden, self.hidden, self.bits].as_slice(), &[text, self.hidden, self.bits]]
            .map(|widths| widths.windows(2).map(|pair| layer(pair[0], pair[1], draw)).collect())
    }

    /// Pairs of as many batches, no two of a batch the same.
    fn batches(&self, count: usize) -> Vec<u32> {
        (0..count * self.batch).map(|i| (i % self.pairs) as u32).collect()
    }
}

/// The time of a step in every precision, in a warm-up and after it, and of its parts.
pub(crate) fn steps<M: Multiply>(machine: &M, sizes: Sizes, report: &mut Report<'_>) {
    let mut draw = Draw(1);
    let features = sizes.features.map(|width| draw.numbers(sizes.pairs * width, 1.0));
    let networks = sizes.networks(&mut draw);
    let size = 1.0 / (sizes.bits as f32).sqrt();
    let bank = draw.numbers(sizes.pairs * sizes.bits, 1.0).into_iter().map(|v| v.signum() * size).collect();
    let state = TrainingState::new(networks, bank);
    let machine = Timed::new(machine);
    for precision in Precision::ALL {
        report.case(&format!("\"steps\": \"{precision}\""), || {
            let upload =
                |side: usize| DeviceFeatures::upload(&machine, sizes.features[side], &features[side]);
            let resident = [upload(0)?, upload(1)?];
            step(&machine, sizes, precision, &state, &resident)
        });
    }
}

fn step<'a, M: Multiply>(
    machine: &Timed<'a, M>,
    sizes: Sizes,
    precision: Precision,
    state: &TrainingState,
    features: &[DeviceFeatures<Timed<'a, M>>; 2],
) -> Outcome<String> {
    let settings = StepSettings {
        batch: sizes.batch,
        negatives: sizes.negatives,
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
    let mut training = TrainingStep::new(machine, settings, state, pairs)?;
    let milliseconds = |training: &mut TrainingStep<'_, _>, keys| -> Outcome<f64> {
        let seconds = least_time(|| run(machine, sizes, training, sizes.steps, keys))?;
        Ok(seconds * 1e3 / sizes.steps as f64)
    };
    let warm_up = milliseconds(&mut training, BatchKeys::Own)?;
    let bank = milliseconds(&mut training, BatchKeys::Drawn)?;
    let start = Instant::now();
    for _ in 0..sizes.epochs {
        run(machine, sizes, &mut training, sizes.pairs / sizes.batch, BatchKeys::Drawn)?;
    }
    let epochs = start.elapsed().as_secs_f64();
    let mut training = training.one_by_one();
    let launched = milliseconds(&mut training, BatchKeys::Drawn)?;
    machine.set_parts(Some(BTreeMap::new()));
    run(machine, sizes, &mut training, sizes.steps, BatchKeys::Drawn)?;
    let parts = machine.set_parts(None).unwrap_or_default();
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, seconds)| format!("\"{name}\": {:.4}", seconds * 1e3 / sizes.steps as f64))
        .collect();
    if let Some(losses) = training.losses()?.iter().find(|losses| !losses.total.is_finite()) {
        return Err(format!("losses are no numbers: {losses:?}").into());
    }
    Ok(format!(
        "\"warm_up_ms\": {warm_up:.4}, \"step_ms\": {bank:.4}, \"one_by_one_ms\": {launched:.4}, \
         \"epochs\": {}, \"epochs_seconds\": {epochs:.3}, \"parts_ms\": {{{}}}",
        sizes.epochs,
        parts.join(", ")
    ))
}

/// Do some steps, and wait for them.
fn run<'a, M: Multiply>(
    machine: &Timed<'a, M>,
    sizes: Sizes,
    training: &mut TrainingStep<'_, Timed<'a, M>>,
    steps: usize,
    keys: BatchKeys<'_>,
) -> Outcome<()> {
    training.load(&sizes.batches(steps), 1e-4)?;
    (0..steps).try_for_each(|_| training.next_step(keys))?;
    Ok(machine.wait()?)
}

/// Encoding of rows from host memory to codes there, by products of every precision and by the chains that
/// give the CPU's codes.
pub(crate) fn encoding<M: Multiply>(machine: &M, sizes: Sizes, report: &mut Report<'_>) {
    let mut draw = Draw(2);
    let networks = sizes.networks(&mut draw);
    let rows = sizes.features.map(|width| {
        let some = draw.numbers(sizes.pairs * width, 1.0);
        some.into_iter().cycle().take(sizes.encoded * width).collect::<Vec<_>>()
    });
    let batch = Encoder::<M>::ROWS.min(sizes.encoded);
    for precision in Precision::ALL.map(Some).into_iter().chain([None]) {
        let name = precision.map_or("exact", Precision::name);
        report.case(&format!("\"encoding\": \"{name}\", \"rows\": {}", sizes.encoded), || {
            let mut seconds = [0.0; 2];
            for (side, seconds) in seconds.iter_mut().enumerate() {
                let layers = &networks[side];
                let mut encoder = match precision {
                    Some(precision) => Encoder::new(machine, layers, batch, precision)?,
                    None => Encoder::exact(machine, layers, batch)?,
                };
                *seconds = least_time(|| Ok(encoder.encode(&rows[side])?))?;
            }
            let [image, text] = seconds;
            let speed = sizes.encoded as f64 * 60.0 / (image + text);
            Ok(format!(
                "\"image_seconds\": {image:.4}, \"text_seconds\": {text:.4}, \"pairs_per_minute\": {speed:.4e}"
            ))
        });
    }
}

/// A layer with weights as training starts with.
fn layer(inputs: usize, outputs: usize, draw: &mut Draw) -> Layer {
    let bound = 1.0 / (inputs as f32).sqrt();
    Layer {
        inputs,
        outputs,
        weight: draw.numbers(inputs * outputs, bound),
        bias: draw.numbers(outputs, bound),
    }
}

/// Numbers by chance (SplitMix64).
struct Draw(u64);

impl Draw {
    /// Uniform between `-bound` and `bound`.
    fn numbers(&mut self, count: usize, bound: f32) -> Vec<f32> {
        (0..count).map(|_| (self.next() * 2.0 - 1.0) * bound).collect()
    }

    /// Uniform in 0..1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 40) as f32 / (1 << 24) as f32
    }
}
