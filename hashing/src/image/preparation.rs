//! Bringing a picture to the numbers that a network was trained on.

use super::picture::Picture;
use super::resample::{Filter, Span, resample};

/// Resizing, a square from the middle, and each color's mean and deviation.
#[derive(Clone, Debug)]
pub(super) struct Preparation {
    /// Pixels of the shorter side after resizing, at least `side`; `None` leaves pictures as they are, but for
    /// those smaller than the square, whose shorter side becomes the square's.
    pub(super) resized: Option<usize>,
    /// Side of the square.
    pub(super) side: usize,
    pub(super) filter: Filter,
    pub(super) middle: Middle,
    pub(super) mean: [f32; 3],
    pub(super) deviation: [f32; 3],
}

/// Where the square begins when an odd number of pixels is cut off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Middle {
    /// Half of it, rounded down: Hugging Face.
    Down,
    /// Half of it, rounded to the even number: torchvision.
    Even,
}

impl Preparation {
    /// What torchvision's networks are evaluated with.
    pub(super) const TORCHVISION: Self = Self {
        resized: Some(256),
        side: 224,
        filter: Filter::Bilinear,
        middle: Middle::Even,
        mean: [0.485, 0.456, 0.406],
        deviation: [0.229, 0.224, 0.225],
    };

    /// What the public code of UCCH evaluates the same networks with: the middle, as it is.
    pub(super) const UCCH: Self = Self { resized: None, ..Self::TORCHVISION };

    /// Names it, for an encoder's id.
    pub(super) fn name(&self) -> String {
        let filter = match self.filter {
            Filter::Bilinear => "bilinear",
            Filter::Bicubic => "bicubic",
        };
        match self.resized {
            Some(resized) => format!("{filter}{resized}-crop{}", self.side),
            None => format!("crop{}", self.side),
        }
    }

    /// The square's colors, 3 bytes a pixel.
    pub(super) fn square(&self, picture: &Picture) -> Vec<u8> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let shorter = width.min(height);
        let target = self.resized.unwrap_or(shorter.max(self.side));
        let span = |pixels: usize| {
            let resized = target * pixels / shorter;
            Span { resized, first: self.middle.of(resized - self.side), count: self.side }
        };
        resample(picture, span(width), span(height), self.filter)
    }

    /// Writes the square as numbers, (side, side, 3).
    pub(super) fn prepare(&self, picture: &Picture, numbers: &mut [f32]) {
        self.normalize(&self.square(picture), numbers);
    }

    /// Writes colors as numbers.
    pub(super) fn normalize(&self, colors: &[u8], numbers: &mut [f32]) {
        let table: [[f32; 256]; 3] = std::array::from_fn(|color| {
            std::array::from_fn(|level| (level as f32 / 255.0 - self.mean[color]) / self.deviation[color])
        });
        let pixels = colors.as_chunks::<3>().0.iter();
        for (place, pixel) in numbers.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
            *place = std::array::from_fn(|color| table[color][usize::from(pixel[color])]);
        }
    }
}

impl Middle {
    /// The pixels before the middle part when `rest` are cut off in all.
    fn of(self, rest: usize) -> usize {
        match self {
            Self::Down => rest / 2,
            Self::Even => rest / 2 + usize::from(rest % 4 == 3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_as_the_libraries_do() {
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(|rest| Middle::Down.of(rest)), [0, 0, 1, 1, 2, 2, 3]);
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(|rest| Middle::Even.of(rest)), [0, 0, 1, 2, 2, 2, 4]);
    }

    #[test]
    fn a_picture_of_one_color_keeps_it_at_every_size() {
        for (width, height) in [(1, 1), (3, 200), (500, 1), (224, 224), (256, 300), (640, 481)] {
            let rgb = [10, 100, 250].repeat((width * height) as usize);
            let picture = Picture::from_rgb(width, height, rgb).unwrap();
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let preparation = Preparation { filter, ..Preparation::TORCHVISION };
                assert_eq!(preparation.square(&picture), [10, 100, 250].repeat(224 * 224));
            }
        }
    }

    /// One of `tests/fixtures/backbones/make.py`'s pictures.
    fn waves(width: u32, height: u32) -> Picture {
        let level = |x: u32, y: u32, color: u32| {
            ((x * x * (color + 1) / 64 + y * 3 + color * 31) % 511).abs_diff(255) as u8
        };
        let pixels =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [0, 1, 2].map(|color| level(x, y, color))));
        Picture::from_rgb(width, height, pixels.collect()).unwrap()
    }

    #[derive(serde::Deserialize)]
    struct Case {
        width: u32,
        height: u32,
        resized: usize,
        side: usize,
        filter: String,
        every: usize,
        levels: String,
    }

    #[test]
    fn squares_equal_pillow_s() {
        let cases = include_str!("../../../tests/fixtures/backbones/resized.json");
        let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
        assert_eq!(cases.len(), 24);
        for Case { width, height, resized, side, filter, every, levels } in cases {
            let (filter, middle) = match &*filter {
                "bilinear" => (Filter::Bilinear, Middle::Even),
                _ => (Filter::Bicubic, Middle::Down),
            };
            let resized = Some(resized);
            let preparation = Preparation { resized, side, filter, middle, ..Preparation::TORCHVISION };
            let got: String = preparation
                .square(&waves(width, height))
                .iter()
                .step_by(every)
                .map(|level| format!("{level:02x}"))
                .collect();
            assert_eq!(got, levels, "{width}x{height} to {resized:?}, {filter:?}");
        }
    }

    #[test]
    fn without_resizing_the_middle_is_kept_as_it_is() {
        let (width, height) = (301, 230);
        let picture = waves(width, height);
        let square = Preparation::UCCH.square(&picture);
        // (301 - 224) / 2 = 38.5 is rounded to 38, (230 - 224) / 2 is 3.
        let expected = (3..227_usize).flat_map(|y| {
            let start = (y * width as usize + 38) * 3;
            picture.rgb()[start..start + 224 * 3].to_vec()
        });
        assert!(square.iter().copied().eq(expected));
        let small = Picture::from_rgb(30, 20, [7, 8, 9].repeat(600)).unwrap();
        assert_eq!(Preparation::UCCH.square(&small), [7, 8, 9].repeat(224 * 224));
        assert_eq!(Preparation::UCCH.name(), "crop224");
    }

    #[test]
    fn numbers_have_the_mean_taken_off() {
        let picture = Picture::from_rgb(2, 2, vec![255; 12]).unwrap();
        let mut numbers = vec![0.0; 224 * 224 * 3];
        Preparation::TORCHVISION.prepare(&picture, &mut numbers);
        for (number, expected) in numbers[..3].iter().zip([2.248_908, 2.428_571, 2.64]) {
            assert!((number - expected).abs() < 1e-5, "{number}");
        }
    }
}
