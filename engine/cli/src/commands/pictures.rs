//! Features of raw pictures, made under a bar.

use std::ops::ControlFlow;

use twinbit::{Array, PictureArray};

use crate::interrupt;
use crate::session::Session;

/// Calls `encode` with what watches it: a bar is moved, and Ctrl-C calls it off.
pub fn features(
    pictures: &PictureArray,
    session: &Session,
    encode: impl FnOnce(&mut (dyn FnMut(usize) -> ControlFlow<()> + Send)) -> twinbit::Result<Array>,
) -> twinbit::Result<Array> {
    let bar = session.progress.bar("encoding pictures", pictures.rows() as u64);
    let features = encode(&mut |done| {
        bar.set_position(done as u64);
        interrupt::flow()
    });
    bar.finish_and_clear();
    features
}
