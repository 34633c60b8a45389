//! A folder with a small random ResNet, named as torchvision names its own.

use std::fs;
use std::path::Path;

/// Width of its features.
pub const WIDTH: usize = 16;

/// Writes four stages of one basic block each, with 16 features, and a configuration that nobody needs.
pub fn write_resnet(folder: &Path) {
    const WIDTHS: [usize; 4] = [8, 8, 12, WIDTH];
    fs::create_dir_all(folder).unwrap();
    let mut tensors = Tensors::default();
    tensors.convolution("conv1", "bn1", [8, 3, 7]);
    let mut inputs = 8;
    for (stage, outputs) in WIDTHS.into_iter().enumerate() {
        let name = format!("layer{}.0", stage + 1);
        tensors.convolution(&format!("{name}.conv1"), &format!("{name}.bn1"), [outputs, inputs, 3]);
        tensors.convolution(&format!("{name}.conv2"), &format!("{name}.bn2"), [outputs, outputs, 3]);
        if stage > 0 {
            let shortcut = format!("{name}.downsample");
            tensors.convolution(&format!("{shortcut}.0"), &format!("{shortcut}.1"), [outputs, inputs, 1]);
        }
        inputs = outputs;
    }
    // A classifier, which nothing needs either.
    tensors.add("fc.weight".to_owned(), &[10, WIDTH], |drawn| drawn);
    fs::write(folder.join("model.safetensors"), tensors.file()).unwrap();
    fs::write(folder.join("preprocessor_config.json"), "{\"crop_size\": 224}").unwrap();
}

#[derive(Default)]
struct Tensors(Vec<(String, Vec<usize>, Vec<u8>)>);

impl Tensors {
    /// Adds a tensor of numbers that `value` makes of ones from -1 to 1.
    fn add(&mut self, name: String, shape: &[usize], value: impl Fn(f32) -> f32) {
        let mut state = 1 + self.0.len() as u64;
        let drawn = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        let count = shape.iter().product();
        let bytes = std::iter::repeat_with(drawn).take(count).flat_map(|drawn| value(drawn).to_le_bytes());
        self.0.push((name, shape.to_vec(), bytes.collect()));
    }

    fn convolution(&mut self, name: &str, norm: &str, [outputs, inputs, kernel]: [usize; 3]) {
        let bound = (6.0 / (inputs * kernel * kernel) as f32).sqrt();
        self.add(format!("{name}.weight"), &[outputs, inputs, kernel, kernel], |drawn| drawn * bound);
        for (part, middle) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            self.add(format!("{norm}.{part}"), &[outputs], |drawn| middle + 0.1 * drawn);
        }
    }

    fn file(&self) -> Vec<u8> {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, shape, bytes) in &self.0 {
            let offsets = [data.len(), data.len() + bytes.len()];
            let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets });
            header.insert(name.clone(), entry);
            data.extend(bytes);
        }
        let header = serde_json::Value::Object(header).to_string().into_bytes();
        [(header.len() as u64).to_le_bytes().as_slice(), &header, &data].concat()
    }
}
