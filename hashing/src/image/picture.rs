//! A decoded picture, and how it is brought to the encoder's size.

use std::borrow::Cow;

use image::RgbImage;
use image::imageops::{self, FilterType};

use super::decode::{self, DecodeLimits};
use crate::Error;

/// A picture in memory: red, green and blue, 8 bits each, row after row.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    image: RgbImage,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Picture({}x{})", self.width(), self.height())
    }
}

impl Picture {
    /// Decodes a JPEG, PNG or WebP file; of an animation, the first frame.
    ///
    /// The picture is turned upright as its EXIF orientation says. Transparent pixels are laid on
    /// white, gray becomes equal parts of the three colors, and 16 bits are rounded to 8.
    ///
    /// # Errors
    /// [`Error::ImageFormat`] when the bytes are none of these formats, [`Error::ImageTooLarge`]
    /// beyond `limits`, and [`Error::ImageDamaged`] when the decoder finds fault.
    pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, Error> {
        Ok(Self { image: decode::decode(bytes, limits)? })
    }

    /// A picture of `width` times `height` pixels from its colors, 3 bytes a pixel.
    ///
    /// # Errors
    /// [`Error::Shape`] when `rgb` has another length, or there is no pixel.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, Error> {
        let got = rgb.len();
        let expected = (width as usize).saturating_mul(height as usize).saturating_mul(3);
        match RgbImage::from_raw(width, height, rgb) {
            Some(image) if got == expected && got > 0 => Ok(Self { image }),
            _ => Err(Error::Shape { what: "bytes of a picture", expected: expected.max(3), got }),
        }
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.image.width()
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.image.height()
    }

    /// The colors, 3 bytes a pixel, row after row from the top left.
    pub fn rgb(&self) -> &[u8] {
        self.image.as_raw()
    }

    /// The pixels within a box: left, top, width and height, which must lie on the picture.
    pub(super) fn part(&self, [left, top, width, height]: [u32; 4]) -> Picture {
        Self { image: imageops::crop_imm(&self.image, left, top, width, height).to_image() }
    }

    /// The middle of the picture as a square of `side` pixels: the shorter side is resized to
    /// `side` with a Catmull-Rom filter (bicubic, widened when shrinking), and the longer side is
    /// cropped equally at both ends. A picture of that size already is returned as it is.
    ///
    /// Pictures that wait for the encoder are best kept this way: a 12-megapixel photo takes 36 MB.
    #[must_use]
    pub fn square(&self, side: u32) -> Cow<'_, Picture> {
        if (self.width(), self.height()) == (side, side) {
            return Cow::Borrowed(self);
        }
        // Cropping first gives the same pixels, but for the outermost, and resizes fewer.
        let shorter = self.width().min(self.height());
        let (x, y) = ((self.width() - shorter) / 2, (self.height() - shorter) / 2);
        let middle = imageops::crop_imm(&self.image, x, y, shorter, shorter);
        Cow::Owned(Self { image: imageops::resize(&*middle, side, side, FilterType::CatmullRom) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(width: u32, height: u32) -> Picture {
        let pixels = (0..height).flat_map(|_| (0..width).flat_map(|x| [(x * 200 / width) as u8; 3]));
        Picture::from_rgb(width, height, pixels.collect()).unwrap()
    }

    #[test]
    fn a_picture_of_the_right_size_is_left_alone() {
        let picture = columns(32, 32);
        assert!(matches!(picture.square(32), Cow::Borrowed(same) if *same == picture));
    }

    #[test]
    fn the_middle_is_kept() {
        let square = columns(400, 100).square(50).into_owned();
        assert_eq!((square.width(), square.height()), (50, 50));
        let row: Vec<u8> = square.rgb().iter().step_by(3).take(50).copied().collect();
        // Of columns 0..400, drawn as 0..200, 150..250 stay.
        assert!(row.first().is_some_and(|color| color.abs_diff(75) <= 1), "{row:?}");
        assert!(row.last().is_some_and(|color| color.abs_diff(124) <= 1), "{row:?}");
        let tall = columns(30, 90).square(60).into_owned();
        assert_eq!((tall.width(), tall.height()), (60, 60));
        assert_eq!(columns(1, 500).square(224).rgb().len(), 224 * 224 * 3);
    }

    #[test]
    fn buffers_of_the_wrong_length_are_refused() {
        for (width, height, length) in [(2, 2, 11), (2, 2, 13), (0, 0, 0), (0, 4, 0), (u32::MAX, u32::MAX, 3)]
        {
            let result = Picture::from_rgb(width, height, vec![0; length]);
            assert!(matches!(result, Err(Error::Shape { .. })));
        }
    }
}
