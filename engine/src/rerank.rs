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

/// Records whose outputs are computed together: a text tower reads its weights once for several texts.
const CANDIDATES_A_BLOCK: usize = 1024;

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
        let entries: Vec<&Entry> = entry.into_iter().collect();
        let outputs = encoder.entry_outputs(modality, &entries)?.into_iter().flatten().next();
        let outputs = outputs.ok_or_else(|| refused("the record's input was not kept"))?;
        Ok(Reranker { encoder, queries: vec![outputs] })
    }

    /// How near records are to query number `query` of the pass: larger is nearer. Each comes with the modality
    /// that was found; those that are gone are farthest.
    fn similarities(&self, query: usize, found: &[(Modality, Option<Entry>)]) -> Result<Vec<f32>> {
        let query = self.queries.get(query).map_or(&[][..], Vec::as_slice);
        let mut similarities = vec![f32::NEG_INFINITY; found.len()];
        for wanted in Modality::ALL {
            let places = similarities.iter_mut().zip(found).filter_map(|(place, (modality, entry))| {
                Some((place, entry.as_ref().filter(|_| *modality == wanted)?))
            });
            let (places, entries): (Vec<&mut f32>, Vec<&Entry>) = places.unzip();
            let outputs = self.encoder.entry_outputs(wanted, &entries)?;
            for ((place, entry), outputs) in places.into_iter().zip(entries).zip(outputs) {
                *place = match outputs {
                    Some(outputs) => dot(query, outputs),
                    None => dot(query, signs(entry.code(wanted).unwrap_or_default())),
                };
            }
        }
        Ok(similarities)
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
        let mut scored: Vec<(f32, T)> = Vec::with_capacity(count);
        for block in first.chunks(CANDIDATES_A_BLOCK) {
            let found: Vec<(Modality, Option<Entry>)> =
                block.par_iter().map(|candidate| entry(*candidate)).collect::<Result<_>>()?;
            scored.extend(self.similarities(query, &found)?.into_iter().zip(block.iter().copied()));
        }
        scored.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        for (place, (_, candidate)) in first.iter_mut().zip(scored) {
            *place = candidate;
        }
        Ok(())
    }
}

/// The bits of a code as outputs.
fn signs(code: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let bits = code.iter().flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 == 1));
    bits.map(|set| if set { 1.0 } else { -1.0 })
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
