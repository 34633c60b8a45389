//! The second look at the best hits: by what the networks say before their outputs become bits.
//!
//! A bit keeps the sign of an output and forgets how sure it was. So the first hits of a scan are
//! ordered anew by the cosine between the outputs for the query and those for the record, computed
//! from its kept inputs; where inputs are not kept, between the outputs for the query and the bits of
//! the record, +1 and -1 (the asymmetric distance).

use rayon::prelude::*;

use crate::encode::Encoder;
use crate::entry::Entry;
use crate::{Error, Input, Modality, Result};

/// Orders hits anew for the queries of one pass.
pub(crate) struct Reranker {
    encoder: Encoder,
    /// The outputs for each query.
    queries: Vec<Vec<f32>>,
}

impl Reranker {
    /// For queries whose positions count from `first`.
    ///
    /// # Errors
    /// When the queries are codes, which say nothing of outputs, or do not fit.
    pub(crate) fn of_inputs(
        encoder: Encoder,
        modality: Modality,
        inputs: &[Input],
        first: usize,
    ) -> Result<Self> {
        let queries = encoder.query_outputs(modality, inputs, first)?;
        Ok(Reranker { encoder, queries })
    }

    /// For a query that is a record.
    ///
    /// # Errors
    /// When its input was not kept.
    pub(crate) fn of_record(encoder: Encoder, modality: Modality, entry: Option<&Entry>) -> Result<Self> {
        let outputs = entry.map(|entry| encoder.entry_outputs(modality, entry)).transpose()?.flatten();
        let outputs = outputs.ok_or_else(|| refused("the record's input was not kept"))?;
        Ok(Reranker { encoder, queries: vec![outputs] })
    }

    /// How near a record is to query number `query` of the pass: larger is nearer.
    fn similarity(&self, query: usize, modality: Modality, entry: &Entry) -> Result<f32> {
        let query = self.queries.get(query).map_or(&[][..], Vec::as_slice);
        if let Some(outputs) = self.encoder.entry_outputs(modality, entry)? {
            return Ok(dot(query, outputs));
        }
        let code = entry.code(modality).unwrap_or_default();
        let signs = code.iter().flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 == 1));
        Ok(dot(query, signs.map(|set| if set { 1.0 } else { -1.0 })))
    }

    /// The first `count` of `candidates` in the order of their similarity, then the others as they were.
    /// Equal ones stay in their order. `entry` reads the record of a candidate and the modality that was
    /// found.
    pub(crate) fn order<T: Copy + Send + Sync>(
        &self,
        query: usize,
        candidates: &mut [T],
        count: usize,
        entry: impl Fn(T) -> Result<(Modality, Option<Entry>)> + Sync,
    ) -> Result<()> {
        let count = count.min(candidates.len());
        let (first, _) = candidates.split_at_mut(count);
        let similarity = |candidate: &T| {
            let (modality, entry) = entry(*candidate)?;
            let similarity = match &entry {
                Some(entry) => self.similarity(query, modality, entry)?,
                None => f32::NEG_INFINITY,
            };
            Ok((similarity, *candidate))
        };
        let mut scored: Vec<(f32, T)> = first.par_iter().map(similarity).collect::<Result<_>>()?;
        scored.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        for (place, (_, candidate)) in first.iter_mut().zip(scored) {
            *place = candidate;
        }
        Ok(())
    }
}

fn dot(left: &[f32], right: impl IntoIterator<Item = f32>) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// The input of a stored record that its outputs are computed from, where it was kept.
pub(crate) fn kept_input(entry: &Entry, modality: Modality) -> Option<Input> {
    match (entry.features(modality), modality) {
        (Some(features), _) => Some(Input::features(features)),
        (None, Modality::Text) => entry.text().map(Input::text),
        (None, Modality::Image) => None,
    }
}

/// Why a query cannot be looked at again.
pub(crate) fn refused(reason: &'static str) -> Error {
    Error::Rerank { reason }
}
