//! Changing a tensor's values where they lie.
//!
//! Candle's own operations allocate their result. For the optimizer, which sweeps over every
//! parameter of a step, that would double the memory traffic.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Storage, Tensor};

use crate::Error;
use crate::real::Real;

struct Sweep<T, F> {
    sweep: Cell<Option<F>>,
    of: std::marker::PhantomData<T>,
}

impl<T: Real, F: FnOnce(&mut [T], &[T])> InplaceOp2 for Sweep<T, F> {
    fn name(&self) -> &'static str {
        "sweep"
    }

    fn cpu_fwd(
        &self,
        target: &mut CpuStorage,
        target_layout: &Layout,
        source: &CpuStorage,
        source_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (Some(to), Some(from)) = (target_layout.contiguous_offsets(), source_layout.contiguous_offsets())
        else {
            candle_core::bail!("in-place sweeps need contiguous tensors");
        };
        let source = &source.as_slice::<T>()?[from.0..from.1];
        match (T::values_mut(target), self.sweep.take()) {
            (Some(target), Some(sweep)) => sweep(&mut target[to.0..to.1], source),
            _ => candle_core::bail!("in-place sweeps need tensors of one number type"),
        }
        Ok(())
    }
}

/// Hands the values of `target` and `source`, two different contiguous tensors, to `sweep`.
pub(crate) fn sweep<T: Real>(
    target: &Tensor,
    source: &Tensor,
    sweep: impl FnOnce(&mut [T], &[T]),
) -> Result<(), Error> {
    let op = Sweep { sweep: Cell::new(Some(sweep)), of: std::marker::PhantomData };
    Ok(target.inplace_op2(source, &op)?)
}

/// Hands the values of a contiguous tensor to `read` without copying them.
pub(crate) fn read<T: Real, R>(tensor: &Tensor, read: impl FnOnce(&[T]) -> R) -> Result<R, Error> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(values), Some((start, end))) => Ok(read(&values.as_slice::<T>()?[start..end])),
        _ => Err(candle_core::Error::Msg("a contiguous tensor in memory was expected".into()).into()),
    }
}
