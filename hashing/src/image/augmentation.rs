//! Random changes of a picture, of which training sees another one each epoch.

use rand_chacha::ChaCha8Rng;

use super::picture::Picture;
use super::resample::{Filter, Span, resample};
use crate::random::{below, unit};

/// Share of the picture's area that is kept, at least; at most all.
const LEAST_AREA: f64 = 0.08;
/// Width over height of what is kept.
const ASPECTS: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
/// Draws before the middle of the picture is taken.
const ATTEMPTS: usize = 10;

/// A box of a picture: left, top, width, height.
type Box = [u32; 4];

/// A random part of the picture as a square of `side` pixels, mirrored half of the time: torchvision's
/// `RandomResizedCrop` and `RandomHorizontalFlip` as their defaults are. 3 bytes a pixel.
pub(crate) fn augment(picture: &Picture, side: usize, generator: &mut ChaCha8Rng) -> Vec<u8> {
    let part = picture.part(random_box(picture.width(), picture.height(), generator));
    let span = Span { resized: side, first: 0, count: side };
    let mut colors = resample(&part, span, span, Filter::Bilinear);
    if unit(generator) < 0.5 {
        for row in colors.chunks_exact_mut(side * 3) {
            row.as_chunks_mut::<3>().0.reverse();
        }
    }
    colors
}

fn random_box(width: u32, height: u32, generator: &mut ChaCha8Rng) -> Box {
    let area = f64::from(width) * f64::from(height);
    let [least, most] = ASPECTS.map(f64::ln);
    for _ in 0..ATTEMPTS {
        let part = area * (LEAST_AREA + (1.0 - LEAST_AREA) * unit(generator));
        let aspect = (least + (most - least) * unit(generator)).exp();
        let across = (part * aspect).sqrt().round() as u32;
        let down = (part / aspect).sqrt().round() as u32;
        if (1..=width).contains(&across) && (1..=height).contains(&down) {
            let left = below(generator, width - across + 1);
            let top = below(generator, height - down + 1);
            return [left, top, across, down];
        }
    }
    let (least, most) = (ASPECTS[0], ASPECTS[1]);
    let aspect = f64::from(width) / f64::from(height);
    let across = if aspect > most { (f64::from(height) * most).round() as u32 } else { width };
    let down = if aspect < least { (f64::from(width) / least).round() as u32 } else { height };
    let [across, down] = [across.clamp(1, width), down.clamp(1, height)];
    [(width - across) / 2, (height - down) / 2, across, down]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn boxes_lie_on_the_picture_and_keep_its_area_and_aspect() {
        let mut generator = stream(1, Purpose::Augmentation, 0);
        let mut areas = Vec::new();
        for _ in 0..1000 {
            let [left, top, across, down] = random_box(300, 200, &mut generator);
            assert!(left + across <= 300 && top + down <= 200);
            let aspect = f64::from(across) / f64::from(down);
            assert!((0.72..1.4).contains(&aspect), "{across}x{down}");
            areas.push(f64::from(across * down) / 60_000.0);
        }
        areas.sort_unstable_by(f64::total_cmp);
        assert!(areas[0] > 0.075 && areas[0] < 0.1 && areas[999] > 0.8, "{areas:?}");
    }

    #[test]
    fn pictures_no_box_fits_into_give_their_middle() {
        let mut generator = stream(1, Purpose::Augmentation, 0);
        assert_eq!(random_box(1, 1, &mut generator), [0, 0, 1, 1]);
        let [_, top, across, down] = random_box(3, 3000, &mut generator);
        assert_eq!((top, across, down), (1498, 3, 4));
    }

    #[test]
    fn half_of_the_pictures_are_mirrored() {
        // Dark to the left, bright to the right.
        let colors = (0..40 * 40).flat_map(|at| [(at % 40 * 6) as u8; 3]);
        let picture = Picture::from_rgb(40, 40, colors.collect()).unwrap();
        let mirrored = (0..200).filter(|&at| {
            let colors = augment(&picture, 16, &mut stream(1, Purpose::Augmentation, at));
            assert_eq!(colors.len(), 16 * 16 * 3);
            colors[0] > colors[15 * 3]
        });
        assert!((70..130).contains(&mirrored.count()));
    }
}
