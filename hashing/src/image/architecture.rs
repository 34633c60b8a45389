//! The shape of EfficientNet-Lite0: which layers there are, and of what size.
//!
//! Liu, Tan, "EfficientNet-Lite" (2020), after Tan and Le, "EfficientNet: Rethinking Model Scaling
//! for Convolutional Neural Networks", ICML 2019. The classifier is left out: features are the
//! pooled output of the head.

/// Side of the square picture that the network was trained on.
pub(super) const INPUT_SIDE: usize = 224;
/// Channels after the stem, a 3x3 convolution of stride 2 over red, green and blue.
pub(super) const STEM_CHANNELS: usize = 32;
/// Kernel side of the stem.
pub(super) const STEM_KERNEL: usize = 3;
/// Channels after the head, which is the width of the features.
pub(super) const FEATURES: usize = 1280;

/// One inverted residual block: expand (1x1), depthwise, project (1x1).
pub(super) struct Block {
    /// Channels coming in.
    pub(super) input: usize,
    /// Channels of the depthwise convolution. Equal to `input` when there is no expansion.
    pub(super) hidden: usize,
    /// Channels going out.
    pub(super) output: usize,
    /// Kernel side of the depthwise convolution.
    pub(super) kernel: usize,
    /// Stride of the depthwise convolution.
    pub(super) stride: usize,
}

impl Block {
    /// The first block of the network works on its input as it is; every other one widens it.
    pub(super) fn expands(&self) -> bool {
        self.hidden != self.input
    }

    /// A block that changes neither size nor channels adds its input to its output.
    pub(super) fn is_residual(&self) -> bool {
        self.stride == 1 && self.input == self.output
    }
}

const fn block(input: usize, hidden: usize, output: usize, kernel: usize, stride: usize) -> Block {
    Block { input, hidden, output, kernel, stride }
}

/// The sixteen blocks between stem and head.
pub(super) const BLOCKS: [Block; 16] = [
    block(32, 32, 16, 3, 1),
    block(16, 96, 24, 3, 2),
    block(24, 144, 24, 3, 1),
    block(24, 144, 40, 5, 2),
    block(40, 240, 40, 5, 1),
    block(40, 240, 80, 3, 2),
    block(80, 480, 80, 3, 1),
    block(80, 480, 80, 3, 1),
    block(80, 480, 112, 5, 1),
    block(112, 672, 112, 5, 1),
    block(112, 672, 112, 5, 1),
    block(112, 672, 192, 5, 2),
    block(192, 1152, 192, 5, 1),
    block(192, 1152, 192, 5, 1),
    block(192, 1152, 192, 5, 1),
    block(192, 1152, 320, 3, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_takes_what_the_one_before_gives() {
        let mut channels = STEM_CHANNELS;
        for block in &BLOCKS {
            assert_eq!(block.input, channels);
            channels = block.output;
        }
        assert_eq!(BLOCKS.iter().filter(|block| block.is_residual()).count(), 9);
    }
}
