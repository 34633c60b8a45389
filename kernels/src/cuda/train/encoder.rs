//! Features to codes.

use bytemuck::Zeroable;

use super::super::CudaError;
use super::array::Array;
use super::launch;
use super::layer::{Layer, check};
use super::placement::{Placement, zeros};
use super::product::{Multiply, Operand, Precision, multiply};
use crate::{CodeBits, Codes, CodesBuf, Error, Line};

/// A network in the memory of a machine, ready to encode.
///
/// The code of a row is the signs of the last layer's outputs, sgn(0) = +1. tanh and the division by
/// the row's norm, which follow in training, leave signs as they are and are not computed.
///
/// Made with [`new`](Self::new) it multiplies by the machine's products: codes can differ from the CPU's
/// where an output is so near to 0 that rounding decides about its sign. Made with [`exact`](Self::exact) every
/// number is what the encoder on the CPU computes, to the bit, and no cuBLAS is needed.
///
/// Features are copied and encoded batch after batch: the host fills the next page-locked buffer while
/// the card works, and copies and kernels take turns on the card.
#[derive(Debug)]
pub struct Encoder<'a, M: Multiply> {
    machine: &'a M,
    placement: Placement,
    parameters: Array<M, f32>,
    bits: CodeBits,
    layers: Layers<M>,
    rows: usize,
    /// Input of every layer, for `rows` rows, then the last layer's output.
    values: Vec<Array<M, f32>>,
    codes: Array<M, u8>,
    undirected: Array<M, u32>,
}

/// How layers are computed.
#[derive(Debug)]
enum Layers<M: Multiply> {
    /// By products of the machine.
    Products(Precision),
    /// As chains of fused multiply-adds, bias included; what is added afterwards are these zeros.
    Chains(Array<M, f32>),
}

impl<'a, M: Multiply> Encoder<'a, M> {
    /// Rows of a batch that keep a card busy: at a width of 8192 their activations are 134 MB a layer.
    pub const ROWS: usize = 4096;

    /// Copy a network to the machine, with room for batches of `rows` rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when the layers do not fit each other or there are no rows, [`Error::Bits`]
    /// when the last one does not give a code, [`Error::Cuda`] when there is not enough memory.
    pub fn new(machine: &'a M, layers: &[Layer], rows: usize, precision: Precision) -> Result<Self, Error> {
        Self::with(machine, layers, rows, |_| Ok(Layers::Products(precision)))
    }

    /// The same, but every number is one chain of fused multiply-adds that starts at the bias and takes the
    /// inputs in their order, as [`mul_add`](f32::mul_add) gives it: the same codes on every machine.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn exact(machine: &'a M, layers: &[Layer], rows: usize) -> Result<Self, Error> {
        Self::with(machine, layers, rows, |bits| Ok(Layers::Chains(zeros(machine, bits)?)))
    }

    fn with(
        machine: &'a M,
        layers: &[Layer],
        rows: usize,
        computed: impl FnOnce(usize) -> Result<Layers<M>, CudaError>,
    ) -> Result<Self, Error> {
        check(layers)?;
        if !(1..=launch::MOST_CHAIN_ROWS).contains(&rows) {
            return Err(Error::Shape { what: "rows of a batch", expected: Self::ROWS, got: rows });
        }
        let placement = Placement::of(layers, 0);
        let bits = CodeBits::new(placement.bits())?;
        let mut parameters = zeros(machine, placement.end)?;
        placement.write(machine, layers, &mut parameters)?;
        let widths = placement.places.iter().map(|place| place.inputs).chain([bits.bits()]);
        Ok(Self {
            values: widths.map(|width| Array::new(machine, rows * width)).collect::<Result<_, _>>()?,
            codes: Array::new(machine, Codes::byte_len(bits, rows))?,
            undirected: Array::new(machine, 1)?,
            machine,
            placement,
            parameters,
            bits,
            layers: computed(bits.bits())?,
            rows,
        })
    }

    /// The length of a code.
    #[must_use]
    pub const fn bits(&self) -> CodeBits {
        self.bits
    }

    /// Values of a row of features.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.placement.inputs()
    }

    /// The codes of whole rows of features.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are no whole rows, [`Error::NoDirection`] naming a row whose outputs
    /// are all 0 or not numbers, [`Error::Cuda`] when the machine fails.
    pub fn encode(&mut self, features: &[f32]) -> Result<CodesBuf, Error> {
        let width = self.inputs();
        if width == 0 || !features.len().is_multiple_of(width) {
            let expected = features.len().next_multiple_of(width.max(1));
            return Err(Error::Shape { what: "features, whole rows", expected, got: features.len() });
        }
        let mut codes = CodesBuf::new(self.bits);
        for (number, batch) in features.chunks(self.rows * width).enumerate() {
            let rows = batch.len() / width;
            self.values[0].write(self.machine, 0, batch)?;
            self.undirected.write(self.machine, 0, &[u32::MAX])?;
            self.run(rows)?;
            let mut lines = vec![Line::zeroed(); Codes::line_count(self.bits, rows)];
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut lines);
            bytes.copy_from_slice(&self.codes.read(self.machine, 0, bytes.len())?);
            let undirected = self.undirected.read(self.machine, 0, 1)?[0];
            if undirected != u32::MAX {
                return Err(Error::NoDirection { row: number * self.rows + undirected as usize });
            }
            codes.append(Codes::new(self.bits, rows, &lines)?)?;
        }
        Ok(codes)
    }

    /// Encode the first rows of the features that are there.
    fn run(&self, rows: usize) -> Result<(), CudaError> {
        for (layer, place) in self.placement.places.iter().enumerate() {
            let input = self.values[layer].as_matrix(rows, place.inputs);
            let into = self.values[layer + 1].as_matrix(rows, place.outputs);
            let (weight, bias) = (place.weight(&self.parameters), place.bias(&self.parameters));
            let last = layer + 1 == self.placement.places.len();
            let left = match &self.layers {
                Layers::Products(precision) => {
                    let (input, weight) = (Operand::plain(input), Operand::transposed(weight));
                    multiply(self.machine, input, weight, into, false, *precision)?;
                    if !last {
                        launch::add_bias(self.machine, into, bias)?;
                    }
                    bias
                }
                Layers::Chains(zeros) => {
                    launch::chain(self.machine, input, weight, bias, into, !last)?;
                    zeros.as_matrix(1, self.bits.bits())
                }
            };
            if last {
                launch::pack(self.machine, into, left, self.bits, &self.codes, &self.undirected)?;
            }
        }
        Ok(())
    }
}
