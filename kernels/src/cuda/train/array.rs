//! Arrays of numbers in the memory of a machine, and matrices within them.

use std::marker::PhantomData;

use bytemuck::Pod;

use super::super::{CudaError, Identity, Machine, Memory};

/// Numbers of one type.
#[derive(Debug)]
pub(crate) struct Array<M: Machine, T> {
    memory: M::Memory,
    len: usize,
    of: PhantomData<T>,
}

impl<M: Machine, T: Pod> Array<M, T> {
    /// Room for numbers, whatever they are.
    pub(crate) fn new(machine: &M, len: usize) -> Result<Self, CudaError> {
        let bytes = len.saturating_mul(size_of::<T>());
        Ok(Self { memory: machine.allocate(bytes)?, len, of: PhantomData })
    }

    /// A copy of some numbers.
    pub(crate) fn upload(machine: &M, values: &[T]) -> Result<Self, CudaError> {
        let mut array = Self::new(machine, values.len())?;
        array.write(machine, 0, values)?;
        Ok(array)
    }

    /// Copy numbers to the places from `at` on.
    pub(crate) fn write(&mut self, machine: &M, at: usize, values: &[T]) -> Result<(), CudaError> {
        machine.write(&mut self.memory, at * size_of::<T>(), bytemuck::cast_slice(values))
    }

    /// Copy the numbers from `at` on, after all work before.
    pub(crate) fn read(&self, machine: &M, at: usize, count: usize) -> Result<Vec<T>, CudaError> {
        let mut values = vec![T::zeroed(); count];
        machine.read(&self.memory, at * size_of::<T>(), bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn owner(&self) -> Identity {
        self.memory.owner()
    }

    /// The address of the number at a place.
    pub(crate) fn address(&self, at: usize) -> u64 {
        assert!(at <= self.len, "place {at} of {}", self.len);
        self.memory.address() + (at * size_of::<T>()) as u64
    }
}

impl<M: Machine> Array<M, f32> {
    /// The numbers from `at` on as a matrix.
    pub(crate) fn matrix(&self, at: usize, rows: usize, columns: usize) -> Matrix<'_> {
        assert!(at + rows * columns <= self.len, "{rows} x {columns} numbers of {}", self.len);
        Matrix { address: self.address(at), rows, columns, of: PhantomData }
    }

    /// The first numbers as a matrix.
    pub(crate) fn as_matrix(&self, rows: usize, columns: usize) -> Matrix<'_> {
        self.matrix(0, rows, columns)
    }
}

/// A row-major matrix of float32 numbers in the memory of a machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) address: u64,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    of: PhantomData<&'a ()>,
}

impl Matrix<'_> {
    /// How many numbers there are.
    pub(crate) const fn len(self) -> usize {
        self.rows * self.columns
    }
}
