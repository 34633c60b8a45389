//! Records: ids to rows and back, what is alive, how many.

use std::ops::ControlFlow;

use twinbit_kernels::{Modality, RowMask};

use super::{MANY, VerifyReport};
use crate::catalog::Family;
use crate::dead::Dead;
use crate::error::Error;
use crate::fresh;
use crate::id::RecordId;
use crate::keys;
use crate::schema::IdKind;
use crate::view::CollectionView;

pub(super) fn verify(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let catalog = view.state.pin.catalog().path().to_path_buf();
    let mut alive = 0_u64;
    for part in view.collection.parts.iter() {
        alive += part.alive().count() as u64;
        let [image, text] = Modality::ALL.map(|modality| part.present(modality));
        for row in part.alive().and_not(&image.or(text)).ones().take(MANY) {
            report
                .add(&catalog, format!("the record with ordinal {} has neither modality", part.ordinal(row)));
        }
    }
    report.rows += alive;
    if alive != view.len() {
        report.add(&catalog, format!("{} records are counted, {alive} are there", view.len()));
    }
    verify_dead(view, report)?;
    verify_fresh(view, report)?;
    verify_ids(view, report)
}

/// Dead ordinals were given out before they died.
fn verify_dead(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let (pin, next) = (&view.state.pin, view.collection.next_ordinal);
    let mut wrong = Vec::new();
    pin.scan_prefix(Family::Dead, &keys::collection(view.info().id), &mut |key, value| {
        let mut chunk = Dead::default();
        let fits = keys::last_number(key).and_then(|number| chunk.add_chunk(number, value)).is_some()
            && chunk.iter().last().is_none_or(|last| last < next);
        if !fits {
            wrong.push(pin.corrupt(Family::Dead, key, "the bitmap of dead rows does not fit the collection"));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    report_all(wrong, report)
}

/// Fresh rows can be read and come after all segments.
fn verify_fresh(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let (pin, collection) = (&view.state.pin, &view.collection);
    let ordinals = collection.fresh_start()..collection.next_ordinal;
    let code_bytes = view.info().config.bits.bytes();
    let mut wrong = Vec::new();
    pin.scan_prefix(Family::Fresh, &keys::collection(view.info().id), &mut |key, value| {
        let ordinal = keys::last_number(key).filter(|ordinal| ordinals.contains(ordinal));
        if ordinal.and_then(|ordinal| fresh::decode(ordinal, value, code_bytes)).is_none() {
            wrong.push(pin.corrupt(Family::Fresh, key, "the row is unreadable or not where it belongs"));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    report_all(wrong, report)
}

/// One way through all ids: each leads to an alive row that has it, and every alive row is led to.
fn verify_ids(view: &CollectionView, report: &mut VerifyReport) -> Result<(), Error> {
    let (pin, info) = (&view.state.pin, view.info());
    let parts = &view.collection.parts;
    let is_auto = info.config.ids == IdKind::Auto;
    let mut led_to: Vec<RowMask> = parts.iter().map(|part| RowMask::none(part.rows() as usize)).collect();
    let mut wrong = Vec::new();
    let prefix = keys::collection(info.id);
    pin.scan_prefix(Family::Ids, &prefix, &mut |key, value| {
        let rest = key.get(prefix.len()..).unwrap_or_default();
        let id = match info.config.ids {
            IdKind::Str => std::str::from_utf8(rest).ok().map(RecordId::from),
            IdKind::Auto | IdKind::U64 => rest.try_into().ok().map(u64::from_be_bytes).map(RecordId::U64),
        };
        let ordinal = value.try_into().ok().map(u64::from_le_bytes);
        let mut follow = || -> Option<()> {
            let (part, row) = view.part_of(ordinal?)?;
            let data = parts.get(part)?;
            if !data.is_alive(row) || data.id(row).ok()? != *id.as_ref()? {
                return None;
            }
            led_to.get_mut(part)?.set(row as usize, true);
            Some(())
        };
        if follow().is_none() {
            wrong.push(pin.corrupt(Family::Ids, key, "the id leads to no record that has it"));
        }
        // The row that an automatic id is the ordinal of must not have it still.
        if let (true, Some(RecordId::U64(number))) = (is_auto, &id)
            && ordinal != Some(*number)
            && view.is_alive(*number)
            && let Some((part, row)) = view.part_of(*number)
            && let Some(data) = parts.get(part)
            && data.id(row).ok() == id
        {
            wrong.push(pin.corrupt(Family::Ids, key, "two records have the id"));
        }
        Ok(match wrong.len() < MANY {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    let complete = wrong.is_empty();
    report_all(wrong, report)?;
    let mut lost = 0;
    for (part, led_to) in parts.iter().zip(&led_to).filter(|_| complete) {
        for row in part.alive().and_not(led_to).ones() {
            let Some(id) = report.note(part.id(row))? else { continue };
            let ordinal = part.ordinal(row);
            // An automatic id that was never given to another row has no entry.
            if is_auto && id == RecordId::U64(ordinal) {
                continue;
            }
            let what = format!("id {id} does not lead to its row with ordinal {ordinal}");
            report.add(pin.catalog().path(), what);
            lost += 1;
            if lost == MANY {
                return Ok(());
            }
        }
    }
    Ok(())
}

pub(super) fn report_all(errors: Vec<Error>, report: &mut VerifyReport) -> Result<(), Error> {
    for error in errors.into_iter().take(MANY) {
        report.note::<()>(Err(error))?;
    }
    Ok(())
}
