//! How an index differs from the values that it is made of.

use std::ops::ControlFlow;

use crate::catalog::Family;
use crate::error::Error;
use crate::keys;
use crate::schema::FieldId;
use crate::view::CollectionView;

/// One entry that should be otherwise.
#[derive(Debug)]
pub(crate) enum Difference {
    /// The entry of a value is not there.
    Missing {
        /// The row.
        ordinal: u64,
        /// The entry's key.
        key: Vec<u8>,
    },
    /// No alive row has this value.
    Wrong {
        /// The entry's key.
        key: Vec<u8>,
    },
}

/// Called with each difference; says whether to go on.
type Each<'f> = dyn FnMut(Difference) -> Result<ControlFlow<()>, Error> + 'f;

/// Entries or rows compared at once.
const AT_ONCE: usize = 1 << 14;

/// Compares the index of a field with the field's values, both ways. Memory is bounded by what is
/// compared at once.
pub(crate) fn differences(view: &CollectionView, field: FieldId, each: &mut Each<'_>) -> Result<(), Error> {
    if wrong_entries(view, field, each)?.is_break() {
        return Ok(());
    }
    missing_entries(view, field, each)
}

fn wrong_entries(
    view: &CollectionView,
    field: FieldId,
    each: &mut Each<'_>,
) -> Result<ControlFlow<()>, Error> {
    let pin = &view.state.pin;
    let mut some = Vec::new();
    let mut flow = ControlFlow::Continue(());
    pin.scan_prefix(Family::Index, &keys::field(view.info().id, field), &mut |key, _| {
        some.push(key.to_vec());
        if some.len() == AT_ONCE {
            flow = wrong_among(view, field, std::mem::take(&mut some), each)?;
        }
        Ok(flow)
    })?;
    match flow {
        ControlFlow::Continue(()) => wrong_among(view, field, some, each),
        ControlFlow::Break(()) => Ok(flow),
    }
}

fn wrong_among(
    view: &CollectionView,
    field: FieldId,
    found: Vec<Vec<u8>>,
    each: &mut Each<'_>,
) -> Result<ControlFlow<()>, Error> {
    let ordinals: Vec<u64> = found.iter().map(|key| keys::last_number(key).unwrap_or(u64::MAX)).collect();
    let values = view.fields_where(&ordinals, |wanted| wanted == field)?;
    for ((key, ordinal), fields) in found.into_iter().zip(&ordinals).zip(&values) {
        let is_right = view.is_alive(*ordinal)
            && fields
                .iter()
                .any(|(_, value)| keys::index(view.info().id, field, value.borrow(), *ordinal) == key);
        if !is_right && each(Difference::Wrong { key })?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn missing_entries(view: &CollectionView, field: FieldId, each: &mut Each<'_>) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = view.page(after, AT_ONCE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(*last);
        let values = view.fields_where(&page, |wanted| wanted == field)?;
        for (ordinal, fields) in page.iter().zip(&values) {
            for (_, value) in fields {
                let key = keys::index(view.info().id, field, value.borrow(), *ordinal);
                if view.state.pin.get(Family::Index, &key)?.is_none()
                    && each(Difference::Missing { ordinal: *ordinal, key })?.is_break()
                {
                    return Ok(());
                }
            }
        }
    }
}
