//! Real outputs to sign bits and back.

use crate::{CodeBits, CodesBuf, Error};

/// Pack row-major rows of `bits` values each to codes: a bit is 1 where the value is >= 0.
///
/// Zero counts as positive, negative zero too (sgn(0) = +1).
///
/// # Errors
/// [`Error::Shape`] when the values are not whole rows, [`Error::NotANumber`] naming the place of
/// the first NaN, [`Error::TooManyRows`] beyond `u32::MAX` rows.
pub fn pack_signs(values: &[f32], bits: CodeBits) -> Result<CodesBuf, Error> {
    let width = bits.bits();
    if !values.len().is_multiple_of(width) {
        return Err(Error::Shape {
            what: "values to pack, whole rows",
            expected: values.len().next_multiple_of(width),
            got: values.len(),
        });
    }
    let mut codes = CodesBuf::new(bits);
    let mut code = vec![0; bits.bytes()];
    for (row, values) in values.chunks_exact(width).enumerate() {
        pack(values, row, &mut code)?;
        codes.push(&code)?;
    }
    Ok(codes)
}

/// Pack one row of values to the `values.len() / 8` bytes of a code.
///
/// # Errors
/// [`Error::Shape`] unless there are 8 values for every byte of `out`, [`Error::NotANumber`] with
/// row 0 at a NaN.
pub fn pack_signs_row(values: &[f32], out: &mut [u8]) -> Result<(), Error> {
    if values.len() != out.len() * 8 {
        return Err(Error::Shape { what: "values of one code", expected: out.len() * 8, got: values.len() });
    }
    pack(values, 0, out)
}

fn pack(values: &[f32], row: usize, out: &mut [u8]) -> Result<(), Error> {
    if let Some(column) = values.iter().position(|value| value.is_nan()) {
        return Err(Error::NotANumber { row, column });
    }
    let (groups, _) = values.as_chunks::<8>();
    for (byte, group) in out.iter_mut().zip(groups) {
        *byte = group.iter().fold(0, |byte, &value| byte << 1 | u8::from(value >= 0.0));
    }
    Ok(())
}

/// Unpack a code to +1.0 and -1.0, 8 values a byte; the shorter of both slices decides how many.
pub fn unpack_signs(code: &[u8], out: &mut [f32]) {
    for (values, byte) in out.chunks_mut(8).zip(code) {
        for (place, value) in values.iter_mut().enumerate() {
            *value = if byte << place & 0x80 != 0 { 1.0 } else { -1.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 16] = [
        1.0,
        -1.0,
        0.0,
        -0.0,
        -0.5,
        -1e-40,
        f32::INFINITY,
        f32::NEG_INFINITY, //
        -1.0,
        -1.0,
        -1.0,
        -1.0,
        -1.0,
        -1.0,
        -1.0,
        2.0,
    ];

    #[test]
    fn the_first_value_is_the_most_significant_bit() {
        let codes = pack_signs(&VALUES, CodeBits::new(8).unwrap()).unwrap();
        assert_eq!(codes.as_codes().to_packed(), [0b1011_0010, 0b0000_0001]);
        let codes = pack_signs(&VALUES, CodeBits::B16).unwrap();
        assert_eq!(codes.as_codes().row(0), [0b1011_0010, 0b0000_0001]);
    }

    #[test]
    fn unpacking_gives_the_signs() {
        let mut code = [0; 2];
        pack_signs_row(&VALUES, &mut code).unwrap();
        let mut signs = [0.0; 16];
        unpack_signs(&code, &mut signs);
        for (value, sign) in VALUES.iter().zip(signs) {
            assert_eq!(sign, if *value >= 0.0 { 1.0 } else { -1.0 });
        }
    }

    #[test]
    fn a_value_without_sign_is_named() {
        let mut values = [1.0; 24];
        values[19] = f32::NAN;
        let packed = pack_signs(&values, CodeBits::new(8).unwrap());
        assert!(matches!(packed, Err(Error::NotANumber { row: 2, column: 3 })));
        let packed = pack_signs_row(&values[16..], &mut [0]);
        assert!(matches!(packed, Err(Error::NotANumber { row: 0, column: 3 })));
    }

    #[test]
    fn ragged_rows_are_refused() {
        assert!(matches!(
            pack_signs(&[0.0; 20], CodeBits::B16),
            Err(Error::Shape { expected: 32, got: 20, .. })
        ));
        assert!(matches!(pack_signs_row(&[0.0; 9], &mut [0]), Err(Error::Shape { expected: 8, got: 9, .. })));
    }
}
