//! Pooling of pixels, channel by channel.

use super::windows::Windows;

/// The greatest value of each channel in each window: `input` (side, side, channels) to `output`
/// (windows, windows, channels).
pub(super) fn max_pool(side: usize, channels: usize, windows: Windows, input: &[f32], output: &mut [f32]) {
    output.fill(f32::NEG_INFINITY);
    let positions = (0..windows.count()).flat_map(|y| (0..windows.count()).map(move |x| (y, x)));
    for (place, (y, x)) in output.chunks_exact_mut(channels).zip(positions) {
        for (_, y) in windows.taps(y) {
            for (_, x) in windows.taps(x) {
                let pixel = &input[(y * side + x) * channels..][..channels];
                for (place, &value) in place.iter_mut().zip(pixel) {
                    *place = if value > *place { value } else { *place };
                }
            }
        }
    }
}

/// The mean of each channel over all pixels.
pub(super) fn average(pixels: &[f32], means: &mut [f32]) {
    means.fill(0.0);
    let rows = pixels.chunks_exact(means.len());
    let count = rows.len() as f32;
    for pixel in rows {
        for (mean, value) in means.iter_mut().zip(pixel) {
            *mean += value;
        }
    }
    for mean in means {
        *mean /= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_of_each_window_and_channel_is_kept() {
        // Rows of two channels; the second is minus the first.
        let input: Vec<f32> = (0..9).flat_map(|at| [at as f32, -(at as f32)]).collect();
        let mut output = [0.0; 8];
        max_pool(3, 2, Windows::padded(3, 3, 2, 1), &input, &mut output);
        assert_eq!(output, [4.0, 0.0, 5.0, -1.0, 7.0, -3.0, 8.0, -4.0]);
    }

    #[test]
    fn the_average_is_of_all_pixels() {
        let mut means = [7.0; 2];
        average(&[1.0, 2.0, 3.0, 6.0], &mut means);
        assert_eq!(means, [2.0, 4.0]);
    }
}
