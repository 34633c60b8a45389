//! Makes the weights that the feature `efficientnet-lite0` embeds: float32 to float16, without the
//! classifier.
//!
//! `cargo run --release -p twinbit-hashing --example half_weights -- model_f32.safetensors
//! hashing/weights/efficientnet_lite0_f16.safetensors`

use std::collections::BTreeMap;
use std::error::Error;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(source), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("give the float32 file and the file to write".into());
    };
    let bytes = std::fs::read(source)?;
    let mut halves = BTreeMap::new();
    for (name, tensor) in SafeTensors::deserialize(&bytes)?.iter() {
        if name.starts_with("fc.") {
            continue;
        }
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("{name} is not float32").into());
        }
        let numbers = tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let data: Vec<u8> = numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect();
        halves.insert(name.to_owned(), (tensor.shape().to_vec(), data));
    }
    let views = halves.iter().map(|(name, (shape, data))| {
        TensorView::new(Dtype::F16, shape.clone(), data).map(|view| (name.as_str(), view))
    });
    let file = serialize(views.collect::<Result<Vec<_>, _>>()?, None)?;
    std::fs::write(target, file)?;
    Ok(())
}
