//! Compaction: what is read stays the same, space comes back, and nothing written meanwhile is lost.

use std::ops::ControlFlow;

use super::*;
use crate::{Compacted, Error, Predicate};

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(super) fn compact(store: &Store, id: CollectionId) -> Compacted {
    store.compact(id, &mut go_on).unwrap()
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("segments")).unwrap().count()
}

/// Ids of every kind for the record with this number.
fn id_of(kind: IdKind, number: u64) -> RecordId {
    match kind {
        IdKind::Str => RecordId::Str(format!("{}{number}", "x".repeat(number as usize % 4))),
        _ => RecordId::U64(number),
    }
}

/// A record whose inputs, codes and fields follow from its number.
struct Made {
    text: String,
    image: [f16; 2],
    code: [u8; 2],
}

impl Made {
    fn new(number: u64) -> Self {
        let (text, image) = (format!("text {number}"), image(number as f32));
        Made { text, image, code: [number as u8, (number / 256) as u8] }
    }

    /// Some records lack a modality, some an input, some a field.
    fn record(&self, config: &CollectionConfig, id: Option<RecordId>, number: u64) -> NewRecord<'_> {
        let external = config.external_codes;
        let present = [number % 5 != 1, number % 5 != 2];
        let mut fields = vec![(YEAR, Value::I64(number as i64 % 10))];
        if number.is_multiple_of(3) {
            fields.push((LANG, Value::Str(format!("lang{}", number % 4))));
        }
        NewRecord {
            id,
            image: (present[0] && !external).then_some(&self.image[..]),
            text: (present[1] && !external).then_some(TextInput::Text(&self.text)),
            codes: present.map(|present| (present && external).then_some(&self.code[..])),
            fields,
        }
    }
}

/// Puts, replaces and deletes until there are many segments with many dead rows; some fresh rows are
/// left, too.
fn fill(store: &Store, id: CollectionId, rounds: u64) {
    let config = view(store, id).info().config.clone();
    let mut next = 0;
    for round in 0..rounds {
        let mut writer = store.writer(id).unwrap();
        for _ in 0..45 {
            let given = (config.ids != IdKind::Auto).then(|| id_of(config.ids, next));
            writer.put(Made::new(next).record(&config, given, next)).unwrap();
            next += 1;
        }
        for step in 0..10 {
            let old = id_of(config.ids, (round * 31 + step * 7) % next);
            if step % 2 == 0 {
                writer.delete(&old).unwrap();
            } else if config.ids != IdKind::Auto || writer.contains(&old).unwrap() {
                writer.put(Made::new(next + step).record(&config, Some(old), next + step)).unwrap();
            }
            let set = id_of(config.ids, (round * 17 + step * 5) % next);
            writer.set(&set, &[(SCORE, Some(Value::F64(step as f64)))]).unwrap();
        }
        next = next.max(view(store, id).collection.next_ordinal);
        writer.commit().unwrap();
        next = next.max(view(store, id).collection.next_ordinal);
    }
}

/// The rows that two predicates select.
fn selected(view: &CollectionView) -> Vec<u64> {
    let year = Predicate::Compare { field: YEAR, op: crate::Comparison::Ge, value: Value::I64(6) };
    let either = Predicate::Or(vec![year, Predicate::IsNull(SCORE)]);
    let masks = view.select(&either).unwrap();
    let parts = view.parts();
    let rows = masks.iter().zip(parts.iter());
    rows.flat_map(|(mask, part)| mask.ones().map(|row| part.ordinal(row)).collect::<Vec<_>>()).collect()
}

#[test]
fn everything_reads_the_same_afterwards() {
    for ids in [IdKind::Auto, IdKind::U64, IdKind::Str] {
        for config in [config(ids), external(ids), CollectionConfig { external_codes: true, ..config(ids) }] {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            let id = store.create_collection("a", config).unwrap();
            fill(&store, id, 9);
            let before = (contents(&view(&store, id)), selected(&view(&store, id)));
            let stats = store.stats(id).unwrap();
            assert!(stats.segments >= 9 && stats.deleted > 20);

            let done = compact(&store, id);
            assert_eq!((done.segments_after, files(folder.path()) as u64), (1, stats.file_count(1)));
            assert!(done.segments_before >= 9 && done.rows_dropped > 20);
            assert_eq!((contents(&view(&store, id)), selected(&view(&store, id))), before);
            let stats = store.stats(id).unwrap();
            assert_eq!((stats.deleted, stats.fresh_rows), (0, 0));
            assert!(view(&store, id).collection.dead.is_empty());
            assert_sound(&store);
            // Once more there is nothing to do.
            let again = compact(&store, id);
            assert_eq!((again.segments_before, again.segments_after, again.rows_dropped), (1, 1, 0));

            drop(store);
            let store = open(folder.path());
            assert_eq!((contents(&view(&store, id)), selected(&view(&store, id))), before);
            fill(&store, id, 2);
            assert_sound(&store);
        }
    }
}

impl crate::StoreStats {
    /// Files of so many segments.
    fn file_count(&self, segments: u64) -> u64 {
        segments * if self.bytes.codes > 0 { 2 } else { 1 }
    }
}

#[test]
fn old_views_keep_their_rows_and_then_the_space_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    fill(&store, id, 5);
    let old = view(&store, id);
    let before = (contents(&old), selected(&old));
    let parts = old.parts();
    let alive: Vec<usize> = parts.iter().map(|part| part.alive().count()).collect();
    let segments = store.stats(id).unwrap().segments as usize;
    compact(&store, id);
    assert!(files(folder.path()) > segments);
    assert_eq!((contents(&old), selected(&old)), before);
    assert_eq!(parts.iter().map(|part| part.alive().count()).collect::<Vec<_>>(), alive);
    // Also when what it pinned is written over.
    fill(&store, id, 5);
    compact(&store, id);
    assert_eq!((contents(&old), selected(&old)), before);
    drop((old, parts));
    assert_eq!(files(folder.path()), 1);
    assert_sound(&store);
}

#[test]
fn what_is_written_during_a_merge_is_there_afterwards() {
    for ids in [IdKind::Auto, IdKind::Str] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let id = store.create_collection("a", config(ids)).unwrap();
        fill(&store, id, 6);
        let open_writer = std::cell::RefCell::new(None);
        let alive: Vec<RecordId> = contents(&view(&store, id)).into_iter().map(|record| record.id).collect();
        let mut steps = 0;
        let put = |number: u64, replaced: RecordId| {
            let config = config(ids);
            let made = Made::new(number);
            let mut writer = store.wait_writer(id).unwrap();
            writer.put(made.record(&config, Some(replaced), number)).unwrap();
            writer.commit().unwrap();
        };
        store
            .compact(id, &mut |_, _| {
                steps += 1;
                match steps {
                    2 => {
                        assert!(store.wait_writer(id).unwrap().delete(&alive[3]).unwrap());
                        let mut writer = store.wait_writer(id).unwrap();
                        assert!(writer.delete(&alive[4]).unwrap());
                        assert!(writer.set(&alive[5], &[(SCORE, Some(Value::F64(77.0)))]).unwrap());
                        writer.commit().unwrap();
                        put(1000, alive[6].clone());
                    }
                    // Enough for segments of their own.
                    5 => put_texts_with(&store, id, ids, 5000, 100),
                    // Open across the switch: it began before and commits after.
                    7 => {
                        let mut writer = store.writer(id).unwrap();
                        assert!(writer.delete(&alive[7]).unwrap());
                        assert!(writer.set(&alive[8], &[(SCORE, Some(Value::F64(88.0)))]).unwrap());
                        *open_writer.borrow_mut() = Some(writer);
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(steps > 7);
        open_writer.into_inner().unwrap().commit().unwrap();
        assert_sound(&store);
        let now = view(&store, id);
        let find = |index: usize| now.find(&alive[index]).unwrap();
        // The first delete was dropped with its transaction.
        assert!(find(3).is_some());
        assert_eq!((find(4), find(7)), (None, None));
        for (index, score) in [(5, 77.0), (8, 88.0)] {
            let fields = now.fields(find(index).unwrap()).unwrap();
            assert!(fields.contains(&(SCORE, Value::F64(score))));
        }
        assert_eq!(now.fields(find(6).unwrap()).unwrap()[0], (YEAR, Value::I64(0)));
        assert_eq!(now.len(), alive.len() as u64 - 2 + 100);
        assert_eq!(contents(&now).len() as u64, now.len());
        let before = contents(&now);
        drop(now);
        drop(store);
        let store = open(folder.path());
        assert_eq!(contents(&view(&store, id)), before);
        let done = compact(&store, id);
        assert!(done.rows_dropped >= 3);
        assert_eq!(contents(&view(&store, id)), before);
        assert_sound(&store);
    }
}

pub(super) fn put_texts_with(store: &Store, id: CollectionId, ids: IdKind, first: u64, count: u64) {
    let mut writer = store.writer(id).unwrap();
    for number in first..first + count {
        let given = (ids != IdKind::Auto).then(|| id_of(ids, number));
        writer.put(text_record(given, "x")).unwrap();
    }
    writer.commit().unwrap();
}

/// The folder is copied in the middle of the merge, as a power failure would leave it.
#[test]
fn a_process_that_ends_in_the_middle_leaves_no_orphan_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Str)).unwrap();
    fill(&store, id, 4);
    store.flush(id).unwrap();
    let before = contents(&view(&store, id));
    let mut steps = 0;
    store
        .compact(id, &mut |_, _| {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), copy.path());
            let written = files(copy.path());
            let copied = open(copy.path());
            assert_eq!(contents(&view(&copied, id)), before, "step {steps}");
            assert_sound(&copied);
            assert_eq!(files(copy.path()) as u64, copied.stats(id).unwrap().segments);
            steps += 1;
            if written > files(copy.path()) {
                steps += 1000;
            }
            compact(&copied, id);
            assert_eq!(contents(&view(&copied, id)), before);
            assert_sound(&copied);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(steps > 1000, "no copy had an unfinished file");
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_canceled_compaction_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    fill(&store, id, 4);
    store.flush(id).unwrap();
    let before = (contents(&view(&store, id)), files(folder.path()));
    for steps in [0, 1, 6] {
        let mut left = steps;
        let canceled = store.compact(id, &mut |done, all| {
            assert!(done <= all);
            left -= 1;
            if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(canceled, Err(Error::Canceled)));
        assert_eq!((contents(&view(&store, id)), files(folder.path())), before);
    }
    assert_sound(&store);
    // The turn is free again.
    compact(&store, id);
}

#[test]
fn segments_without_alive_rows_go_altogether() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    for _ in 0..3 {
        put_texts_with(&store, id, IdKind::U64, 0, 50);
    }
    put_texts_with(&store, id, IdKind::U64, 0, 10);
    let done = compact(&store, id);
    assert_eq!((done.segments_after, done.rows_dropped), (1, 100 + 10));
    let mut writer = store.writer(id).unwrap();
    (0..50).for_each(|number| assert!(writer.delete(&number.into()).unwrap()));
    writer.commit().unwrap();
    let done = compact(&store, id);
    assert_eq!((done.segments_after, done.rows_dropped, files(folder.path())), (0, 50, 0));
    put_texts_with(&store, id, IdKind::U64, 0, 3);
    assert_eq!(contents(&view(&store, id)).len(), 3);
    drop(store);
    assert_eq!(contents(&view(&open(folder.path()), id)).len(), 3);
}

#[test]
fn column_chunks_forget_the_fields_of_removed_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::Auto)).unwrap();
    for _ in 0..3 {
        put_texts(&store, id, 5000);
    }
    let chunks = || {
        let mut found = Vec::new();
        let state = store.inner.state();
        let prefix = crate::keys::field(id, YEAR);
        state
            .pin
            .scan_prefix(crate::catalog::Family::Columns, &prefix, &mut |_, value| {
                found.push(crate::columns::Chunk::decode(value).unwrap().places().count());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        found
    };
    assert_eq!(chunks(), [4096, 4096, 4096, 15_000 - 3 * 4096]);
    let mut writer = store.writer(id).unwrap();
    (4096..8192_u64).chain([0, 9000]).for_each(|number| assert!(writer.delete(&number.into()).unwrap()));
    writer.commit().unwrap();
    assert_eq!(chunks().len(), 4);
    compact(&store, id);
    assert_eq!(chunks(), [4095, 4095, 15_000 - 3 * 4096]);
    assert_sound(&store);
}

#[test]
fn a_collection_that_is_dropped_or_renamed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    fill(&store, id, 3);
    let mut renamed = false;
    store
        .compact(id, &mut |_, _| {
            if !std::mem::replace(&mut renamed, true) {
                store.rename_collection("a", "b").unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(view(&store, id).info().name, "b");
    assert_sound(&store);
    fill(&store, id, 3);
    let mut steps = 0;
    let gone = store.compact(id, &mut |_, _| {
        steps += 1;
        if steps == 3 {
            store.drop_collection("b").unwrap();
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(gone, Err(Error::NotFound { .. })));
    assert_eq!(files(folder.path()), 0);
    assert_sound(&store);
}

#[test]
fn damage_is_reported_and_not_spread() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    fill(&store, id, 3);
    store.flush(id).unwrap();
    let path = view(&store, id).collection.segments().nth(1).unwrap().rows.file().path().to_path_buf();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let before = files(folder.path());
    let refused = store.compact(id, &mut go_on);
    assert!(matches!(refused, Err(Error::Corrupt { path: at, .. }) if at == path));
    assert_eq!(files(folder.path()), before);
    // The store goes on.
    put_texts_with(&store, id, IdKind::U64, 7000, 1);
    bytes[4096] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    compact(&store, id);
    assert_sound(&store);
}

#[test]
fn installs_and_compactions_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    fill(&store, id, 3);
    let before = contents(&view(&store, id)).len();
    let bits = view(&store, id).info().config.bits;
    std::thread::scope(|scope| {
        let mut other = None;
        let model = crate::ModelId([7; 16]);
        store
            .install_model(
                id,
                model,
                b"model",
                &mut |part| {
                    other.get_or_insert_with(|| scope.spawn(|| compact(&store, id)));
                    let mut codes =
                        [twinbit_kernels::CodesBuf::new(bits), twinbit_kernels::CodesBuf::new(bits)];
                    for row in 0..part.rows() {
                        codes[0].push(&[row as u8, 1])?;
                        codes[1].push_zero()?;
                    }
                    Ok(codes)
                },
                &mut go_on,
            )
            .unwrap();
        assert_eq!(other.unwrap().join().unwrap().segments_after, 1);
    });
    assert_eq!(contents(&view(&store, id)).len(), before);
    assert_eq!(files(folder.path()), 2);
    assert_sound(&store);
}

#[test]
fn a_store_opened_read_only_does_not_compact() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.create_collection("a", config(IdKind::U64)).unwrap();
    fill(&store, id, 3);
    drop(store);
    let store = Store::open_read_only(folder.path(), options()).unwrap();
    assert!(matches!(store.compact(id, &mut go_on), Err(Error::ReadOnly)));
}
