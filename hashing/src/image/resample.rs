//! Resizing with the numbers that Pillow gives, so that features equal those of PyTorch programs.
//!
//! Pillow resizes rows, then columns, with a filter that widens by the factor of shrinking, weights
//! rounded to 22 binary digits and 8-bit colors in between. `image`'s own resizing differs in the
//! filter's shape and rounding, by a few levels at edges.

use super::picture::Picture;

/// Binary digits of a weight after the point.
const PRECISION: u32 = 22;

/// The shape of the weights over distance.
#[derive(Clone, Copy, Debug)]
pub(super) enum Filter {
    /// A triangle.
    Bilinear,
    /// Cubic convolution with a = -0.5 (Keys, IEEE TASSP 29(6), 1981).
    Bicubic,
}

impl Filter {
    /// Largest distance of a pixel that counts, in pixels of the larger picture.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Self::Bicubic => 0.0,
        }
    }
}

/// A part of one side of the resized picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Pixels of the whole side, after resizing.
    pub(super) resized: usize,
    /// First pixel wanted.
    pub(super) first: usize,
    /// Pixels wanted.
    pub(super) count: usize,
}

/// What one pixel of the result is made from.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The part of the resized picture that `across` and `down` name, 3 bytes a pixel: the same bytes
/// as of resizing all of it and cropping.
pub(super) fn resample(picture: &Picture, across: Span, down: Span, filter: Filter) -> Vec<u8> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let columns = taps(width, across, filter);
    let rows = taps(height, down, filter);
    let top = rows.first().map_or(0, |taps| taps.first);
    let bottom = rows.last().map_or(0, |taps| taps.first + taps.weights.len());
    let lines = picture.rgb().chunks_exact(width * 3).skip(top).take(bottom - top);
    let narrowed: Vec<u8> =
        lines.flat_map(|line| columns.iter().flat_map(|taps| pixel(taps, line))).collect();
    let stride = across.count * 3;
    let mut sums = vec![0i32; stride];
    let mut result = Vec::with_capacity(stride * down.count);
    for taps in &rows {
        sums.fill(HALF);
        let lines = narrowed[(taps.first - top) * stride..].chunks_exact(stride);
        for (line, &weight) in lines.zip(&taps.weights) {
            for (sum, &color) in sums.iter_mut().zip(line) {
                *sum += i32::from(color) * weight;
            }
        }
        result.extend(sums.iter().map(|&sum| level(sum)));
    }
    result
}

/// Half a level, so that cutting digits off rounds.
const HALF: i32 = 1 << (PRECISION - 1);

/// A sum of weighted colors as a color.
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn pixel(taps: &Taps, line: &[u8]) -> [u8; 3] {
    let mut sums = [HALF; 3];
    for (color, &weight) in line[taps.first * 3..].as_chunks::<3>().0.iter().zip(&taps.weights) {
        for (sum, &color) in sums.iter_mut().zip(color) {
            *sum += i32::from(color) * weight;
        }
    }
    sums.map(level)
}

/// Pillow's `precompute_coeffs`, for the pixels of `span`.
fn taps(pixels: usize, span: Span, filter: Filter) -> Vec<Taps> {
    let scale = pixels as f64 / span.resized as f64;
    let widening = scale.max(1.0);
    let support = filter.support() * widening;
    let taps = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        // Casts cut negative numbers off at 0.
        let first = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(pixels);
        let weight = |pixel: usize| filter.weight((pixel as f64 - center + 0.5) / widening);
        let sum: f64 = (first..end).map(weight).sum();
        let fixed = |weight: f64| (weight / sum * f64::from(1 << PRECISION)).round() as i32;
        Taps { first, weights: (first..end).map(|pixel| fixed(weight(pixel))).collect() }
    };
    (span.first..span.first + span.count).map(taps).collect()
}
