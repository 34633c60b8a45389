//! Where the windows of a convolution or of pooling lie along one side of a picture.

/// Windows of `kernel` pixels, `stride` apart, over a padded side of a picture.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    input: usize,
    kernel: usize,
    stride: usize,
    before: usize,
    count: usize,
}

impl Windows {
    /// TensorFlow's SAME padding: with stride 2 and an even side, the extra row and column are at
    /// the bottom and right.
    pub(super) fn same(input: usize, kernel: usize, stride: usize) -> Self {
        let count = input.div_ceil(stride);
        let covered = (count - 1) * stride + kernel;
        Self { input, kernel, stride, before: covered.saturating_sub(input) / 2, count }
    }

    /// PyTorch's padding: the same number of pixels on both sides. Windows that would hang over by
    /// more are left out; `kernel` must not be longer than the padded side.
    pub(super) fn padded(input: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let count = (input + 2 * padding - kernel) / stride + 1;
        Self { input, kernel, stride, before: padding, count }
    }

    /// Pixels of the output.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The part of window `index` that lies on the picture: its first tap, the pixel under it, and
    /// how many taps.
    #[inline(always)]
    pub(super) fn span(&self, index: usize) -> (usize, usize, usize) {
        let start = index * self.stride;
        let first = self.before.saturating_sub(start);
        let end = self.kernel.min(self.input + self.before - start);
        (first, start + first - self.before, end - first)
    }

    /// The taps of window `index` that lie on the picture: pairs (tap, pixel).
    #[inline(always)]
    pub(super) fn taps(&self, index: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (first, pixel, count) = self.span(index);
        (0..count).map(move |at| (first + at, pixel + at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taps(windows: Windows, index: usize) -> Vec<(usize, usize)> {
        windows.taps(index).collect()
    }

    #[test]
    fn same_padding_is_at_the_bottom_and_right_for_stride_2_and_an_even_side() {
        assert_eq!(taps(Windows::same(4, 3, 2), 0), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(taps(Windows::same(4, 3, 2), 1), [(0, 2), (1, 3)]);
    }

    #[test]
    fn same_padding_is_on_both_sides_otherwise() {
        assert_eq!(taps(Windows::same(5, 3, 2), 0), [(1, 0), (2, 1)]);
        assert_eq!(taps(Windows::same(5, 3, 2), 2), [(0, 3), (1, 4)]);
        assert_eq!(taps(Windows::same(3, 5, 1), 0), [(2, 0), (3, 1), (4, 2)]);
        assert_eq!(taps(Windows::same(1, 5, 1), 0), [(2, 0)]);
    }

    #[test]
    fn given_padding_is_equal_on_both_sides() {
        let windows = Windows::padded(4, 3, 2, 1);
        assert_eq!((windows.count(), taps(windows, 0)), (2, vec![(1, 0), (2, 1)]));
        assert_eq!(taps(windows, 1), [(0, 1), (1, 2), (2, 3)]);
        let pooling = Windows::padded(5, 2, 2, 0);
        assert_eq!((pooling.count(), taps(pooling, 1)), (2, vec![(0, 2), (1, 3)]));
        assert_eq!(Windows::padded(224, 7, 2, 3).count(), 112);
    }
}
