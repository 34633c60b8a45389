//! Reading the fields of rows, wherever the rows are.

use std::collections::BTreeMap;

use crate::catalog::Family;
use crate::columns::{Chunk, place};
use crate::error::Error;
use crate::fresh;
use crate::keys;
use crate::schema::FieldId;
use crate::value::Value;
use crate::view::CollectionView;

/// Field values of one row.
pub(crate) type Fields = Vec<(FieldId, Value)>;

impl CollectionView {
    /// The fields of a record by ascending field; none where the ordinal is unknown.
    pub fn fields(&self, ordinal: u64) -> Result<Vec<(FieldId, Value)>, Error> {
        Ok(self.fields_many(&[ordinal])?.pop().unwrap_or_default())
    }

    /// The fields of many records, in the order asked for. A chunk is read once for all of them.
    pub fn fields_many(&self, ordinals: &[u64]) -> Result<Vec<Vec<(FieldId, Value)>>, Error> {
        self.fields_where(ordinals, |_| true)
    }

    /// [`fields_many`](Self::fields_many) for some fields only.
    pub(crate) fn fields_where(
        &self,
        ordinals: &[u64],
        wanted: impl Fn(FieldId) -> bool,
    ) -> Result<Vec<Fields>, Error> {
        let (pin, info) = (&self.state.pin, &self.collection.info);
        let fresh_start = self.collection.fresh_start();
        let mut rows: Vec<Fields> = ordinals.iter().map(|_| Vec::new()).collect();
        let mut by_chunk: BTreeMap<u64, Vec<(u16, usize)>> = BTreeMap::new();
        for (position, (ordinal, row)) in ordinals.iter().zip(&mut rows).enumerate() {
            if *ordinal < fresh_start {
                let (chunk, place) = place(*ordinal);
                by_chunk.entry(chunk).or_default().push((place, position));
                continue;
            }
            let key = keys::ordinal(info.id, *ordinal);
            let Some(value) = pin.get(Family::FreshFields, &key)? else {
                continue;
            };
            let fields = fresh::decode_fields(&value)
                .ok_or_else(|| pin.corrupt(Family::FreshFields, &key, "the fields are unreadable"))?;
            row.extend(
                fields
                    .into_iter()
                    .filter(|(field, _)| wanted(*field))
                    .map(|(field, value)| (field, value.to_value())),
            );
        }
        for field in info.config.field_ids().filter(|field| wanted(*field)) {
            for (chunk, places) in &by_chunk {
                let key = keys::column(info.id, field, *chunk);
                let Some(bytes) = pin.get(Family::Columns, &key)? else {
                    continue;
                };
                let corrupt = || pin.corrupt(Family::Columns, &key, "the chunk is unreadable");
                let values = Chunk::decode(&bytes).ok_or_else(corrupt)?;
                for (place, position) in places {
                    if let Some(value) = values.get(*place).ok_or_else(corrupt)?
                        && let Some(row) = rows.get_mut(*position)
                    {
                        row.push((field, value.to_value()));
                    }
                }
            }
        }
        Ok(rows)
    }
}
