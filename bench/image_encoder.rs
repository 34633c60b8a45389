//! What EfficientNet-Lite0, or the network of a folder, takes for a picture.
//!
//! ```sh
//! cargo bench --workspace --bench image_encoder -- --weights W.safetensors --pixels P --rounds 5
//! cargo bench --workspace --bench image_encoder -- --folder F --pixels P --side 256
//! ```
//!
//! `P` holds square pictures (224 x 224 unless `--side` tells) one after the other, three bytes a pixel. Prints one line of JSON:
//! milliseconds a picture: pictures one by one, each in a call of its own on all threads, and all in one call; and of
//! each picture its features.
//! `bench/peers/encoder.py` runs it in turns with ONNX Runtime, `bench/peers/backbones.py` with PyTorch; `RAYON_NUM_THREADS` sets the number of
//! threads.

use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;
use twinbit_hashing::{ImageEncoder, Picture};

type Failure = Box<dyn std::error::Error>;

/// Seconds of `rounds` calls, the median, after one that is not counted.
fn median(rounds: usize, mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    call()?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begin = Instant::now();
        call()?;
        times.push(begin.elapsed().as_secs_f64());
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

#[expect(clippy::print_stdout, reason = "a program prints its results")]
fn main() -> Result<(), Failure> {
    let (mut weights, mut folder, mut pixels) = (String::new(), String::new(), String::new());
    let (mut side, mut rounds) = (ImageEncoder::INPUT_SIDE, 5);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--weights" => weights = value,
            "--folder" => folder = value,
            "--pixels" => pixels = value,
            "--side" => side = value.parse()?,
            "--rounds" => rounds = value.parse::<usize>()?.max(1),
            _ => {
                return Err(
                    format!("{name} is no option: --weights, --folder, --pixels, --side, --rounds").into()
                );
            }
        }
    }
    let encoder = match folder.as_str() {
        "" => ImageEncoder::from_safetensors(&std::fs::read(&weights)?)?,
        folder => ImageEncoder::from_folder(Path::new(folder))?,
    };
    let pixels = std::fs::read(&pixels)?;
    let pictures = pixels.chunks_exact(3 * (side * side) as usize);
    let pictures: Vec<Picture> =
        pictures.map(|rgb| Picture::from_rgb(side, side, rgb.to_vec())).collect::<Result<_, _>>()?;
    let together = median(rounds, || {
        let _features = encoder.encode(&pictures)?;
        Ok(())
    })?;
    let alone = median(rounds, || {
        for picture in &pictures {
            let _features = encoder.encode(std::slice::from_ref(picture))?;
        }
        Ok(())
    })?;
    // As an ingest does it: each picture by itself, several at a time.
    let apart = median(rounds, || {
        let encode = |picture| encoder.encode(std::slice::from_ref(picture)).map(drop);
        Ok(pictures.par_iter().try_for_each(encode)?)
    })?;
    let each = 1e3 / pictures.len() as f64;
    println!(
        "{}",
        serde_json::json!({
            "alone": alone * each, "apart": apart * each, "together": together * each,
            "features": encoder.encode(&pictures)?,
        })
    );
    Ok(())
}
