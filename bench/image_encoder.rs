//! What EfficientNet-Lite0 takes for a picture.
//!
//! ```sh
//! cargo bench --workspace --bench image_encoder -- --weights W.safetensors --pixels P --rounds 5
//! ```
//!
//! `P` holds pictures of 224 x 224 one after the other, three bytes a pixel. Prints one line of JSON:
//! milliseconds a picture, pictures one by one and all in one call, and of each picture its features.
//! `bench/peers/encoder.py` runs it in turns with ONNX Runtime; `RAYON_NUM_THREADS` sets the number of
//! threads.

use std::time::Instant;

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
    let (mut weights, mut pixels, mut rounds) = (String::new(), String::new(), 5);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--weights" => weights = value,
            "--pixels" => pixels = value,
            "--rounds" => rounds = value.parse::<usize>()?.max(1),
            _ => return Err(format!("{name} is no option: --weights, --pixels, --rounds").into()),
        }
    }
    let encoder = ImageEncoder::from_safetensors(&std::fs::read(&weights)?)?;
    let side = ImageEncoder::INPUT_SIDE;
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
    let each = 1e3 / pictures.len() as f64;
    println!(
        "{}",
        serde_json::json!({
            "alone": alone * each, "together": together * each, "features": encoder.encode(&pictures)?,
        })
    );
    Ok(())
}
