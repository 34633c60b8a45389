//! What a machine keeps of each query while it walks through the rows.

use super::arguments::{self, POSITION_BITS};
use super::{CudaError, Machine, Memory};

/// The candidates of each query, their bounds, and room for the answer.
///
/// The state is one array of 32-bit numbers: whether a piece overflowed, then for each query how
/// many candidates were offered, how many of them were kept, and the bound.
pub(crate) struct DeviceCandidates<M: Machine> {
    queries: u32,
    capacity: u32,
    k: u32,
    keys: M::Memory,
    state: M::Memory,
    results: M::Memory,
}

impl<M: Machine> DeviceCandidates<M> {
    /// No candidates yet; room for `capacity` for each query, of which `k` are kept.
    pub(crate) fn new(
        machine: &M,
        queries: u32,
        capacity: u32,
        k: u32,
        radius: u32,
    ) -> Result<Self, CudaError> {
        let bytes = |each: u32| queries as usize * each as usize * size_of::<u64>();
        let mut state = vec![0_u32; 1 + 2 * queries as usize];
        state.resize(1 + 3 * queries as usize, radius);
        let mut candidates = Self {
            queries,
            capacity,
            k,
            keys: machine.allocate(bytes(capacity))?,
            state: machine.allocate(size_of_val(&state[..]))?,
            results: machine.allocate(bytes(k))?,
        };
        machine.write(&mut candidates.state, 0, bytemuck::cast_slice(&state))?;
        Ok(candidates)
    }

    pub(crate) const fn queries(&self) -> u32 {
        self.queries
    }

    pub(crate) const fn k(&self) -> u32 {
        self.k
    }

    pub(crate) fn argument(&self, piece: u32) -> arguments::Candidates {
        let array = |number: u64| self.state.address() + 4 * (1 + number * u64::from(self.queries));
        arguments::Candidates {
            keys: self.keys.address(),
            counts: array(0),
            kept: array(1),
            bounds: array(2),
            overflow: self.state.address(),
            capacity: self.capacity,
            piece,
        }
    }

    pub(crate) fn results(&self) -> u64 {
        self.results.address()
    }

    /// Wait, and give the first piece in which the candidates of a query did not fit.
    pub(crate) fn overflow(&self, machine: &M) -> Result<Option<usize>, CudaError> {
        let mut piece = [0_u32];
        machine.read(&self.state, 0, bytemuck::cast_slice_mut(&mut piece))?;
        Ok(piece[0].checked_sub(1).map(|piece| piece as usize))
    }

    /// Search on after a piece that overflowed.
    pub(crate) fn clear_overflow(&mut self, machine: &M) -> Result<(), CudaError> {
        machine.write(&mut self.state, 0, &[0; 4])
    }

    /// The answer to each query, after `order`: (distance, position), ascending, at most k.
    pub(crate) fn answers(&self, machine: &M) -> Result<Vec<Vec<(u32, u64)>>, CudaError> {
        let k = self.k as usize;
        let mut keys = vec![0_u64; self.queries as usize * k];
        machine.read(&self.results, 0, bytemuck::cast_slice_mut(&mut keys))?;
        Ok(keys
            .chunks(k)
            .map(|keys| {
                let found = keys.iter().take_while(|&&key| key != u64::MAX);
                found.map(|key| ((key >> POSITION_BITS) as u32, key & ((1 << POSITION_BITS) - 1))).collect()
            })
            .collect())
    }
}
