//! Numbers of a weights file's tensor.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::tensor::Dtype;

/// The finite numbers, little-endian, of a tensor of float32, float16 or bfloat16; else what is wrong with it.
pub(crate) fn finite_floats(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, String> {
    let values: Vec<f32> = match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect(),
        Dtype::F16 => {
            let halves: Vec<f16> = bytes.as_chunks().0.iter().map(|half| f16::from_le_bytes(*half)).collect();
            halves.to_f32_vec()
        }
        Dtype::BF16 => {
            let halves: Vec<bf16> =
                bytes.as_chunks().0.iter().map(|half| bf16::from_le_bytes(*half)).collect();
            halves.to_f32_vec()
        }
        other => return Err(format!("is {other}, expected F32, F16 or BF16")),
    };
    // Looked at without leaving early, which goes many values at a time.
    match values.iter().fold(true, |finite, value| finite & value.is_finite()) {
        true => Ok(values),
        false => Err("holds a NaN or an infinity".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_formats_give_the_same_numbers() {
        let numbers = [0.0, -1.5, 0.375, 96.0];
        let floats: Vec<u8> = numbers.iter().flat_map(|number: &f32| number.to_le_bytes()).collect();
        let halves: Vec<u8> =
            numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect();
        let brains: Vec<u8> =
            numbers.iter().flat_map(|number| bf16::from_f32(*number).to_le_bytes()).collect();
        for (dtype, bytes) in [(Dtype::F32, floats), (Dtype::F16, halves), (Dtype::BF16, brains)] {
            assert_eq!(finite_floats(dtype, &bytes).unwrap(), numbers);
        }
    }

    #[test]
    fn other_types_and_infinities_are_refused() {
        assert_eq!(finite_floats(Dtype::I8, &[1]).unwrap_err(), "is I8, expected F32, F16 or BF16");
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let bytes = [1.0, value].map(f32::to_le_bytes).concat();
            assert_eq!(finite_floats(Dtype::F32, &bytes).unwrap_err(), "holds a NaN or an infinity");
        }
    }
}
