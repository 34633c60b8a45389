//! Whole columns of ready codes.

use twinbit_kernels::{CodeBits, CodesBuf, Modality};

use super::*;

/// A store whose segments take about 200 rows.
fn store(path: &Path) -> Store {
    Store::open(path, StoreOptions { segment_bytes: 200 * 10, ..options() }).unwrap()
}

/// Codes that name their row.
fn codes(first: usize, rows: usize) -> CodesBuf {
    let packed: Vec<u8> = (first..first + rows).flat_map(|row| (row as u16).to_be_bytes()).collect();
    CodesBuf::from_packed(CodeBits::new(16).unwrap(), &packed).unwrap()
}

fn code(row: usize) -> Vec<u8> {
    (row as u16).to_be_bytes().to_vec()
}

#[test]
fn columns_of_codes_read_back_as_single_puts_do() {
    for (first, second) in [(0, 1), (1, 63), (7, 1000), (64, 128), (500, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let [bulk, single] =
            ["bulk", "single"].map(|name| store.create_collection(name, external(IdKind::Auto)).unwrap());
        let mut writer = store.writer(bulk).unwrap();
        for (start, rows, has_text) in [(0, first, true), (first, second, false)] {
            let (image, text) = (codes(start, rows), codes(start + 9, rows));
            let columns = [Some(image.as_codes()), has_text.then(|| text.as_codes())];
            let range = writer.put_codes(columns).unwrap();
            assert_eq!(range, start as u64..(start + rows) as u64);
        }
        assert_eq!(writer.rows(), first + second);
        writer.commit().unwrap();

        let mut writer = store.writer(single).unwrap();
        for row in 0..first + second {
            let (image, text) = (code(row), code(row + 9));
            let codes = [Some(&image[..]), (row < first).then_some(&text[..])];
            writer.put(NewRecord { codes, ..NewRecord::default() }).unwrap();
        }
        writer.commit().unwrap();
        assert_eq!(contents(&view(&store, bulk)), contents(&view(&store, single)));
        assert_sound(&store);
        drop(store);
        let store = open(folder.path());
        assert_eq!(contents(&view(&store, bulk)), contents(&view(&store, single)));
    }
}

#[test]
fn columns_of_codes_mix_with_other_changes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id = store.create_collection("photos", external(IdKind::Auto)).unwrap();
    let put = |writer: &mut crate::Transaction, of: Option<RecordId>, row: usize| {
        let code = code(row);
        writer.put(NewRecord { id: of, codes: [Some(&code), None], ..NewRecord::default() }).unwrap();
    };
    let mut writer = store.writer(id).unwrap();
    put(&mut writer, None, 5000);
    writer.put_codes([Some(codes(1, 300).as_codes()), None]).unwrap();
    // Record 2 gets a new row and keeps its id, so that what follows stores its ids.
    put(&mut writer, Some(2.into()), 6000);
    writer.put_codes([Some(codes(302, 300).as_codes()), None]).unwrap();
    assert!(writer.delete(&400.into()).unwrap());
    assert!(writer.set(&401.into(), &[(YEAR, Some(Value::I64(7)))]).unwrap());
    writer.commit().unwrap();

    let view = view(&store, id);
    assert_eq!(view.len(), 600);
    let read = |id: u64| view.get(view.find(&id.into()).unwrap()?).unwrap();
    assert_eq!(read(2).unwrap().codes[0], Some(code(6000)));
    assert_eq!(read(3).unwrap().codes[0], Some(code(3)));
    assert_eq!(read(400), None);
    assert_eq!(read(401).unwrap().fields, [(YEAR, Value::I64(7))]);
    assert_eq!(read(601).unwrap().codes[0], Some(code(601)));
    assert!(view.parts().iter().all(|part| part.codes(Modality::Text).is_none() || !part.is_segment()));
    assert_sound(&store);
}

#[test]
fn columns_of_codes_in_a_failed_change_are_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id = store.create_collection("photos", external(IdKind::Auto)).unwrap();
    let failed = store.write_grouped(id, |writer| {
        writer.put_codes([Some(codes(0, 500).as_codes()), None])?;
        Err::<(), _>(crate::Error::Empty)
    });
    assert!(failed.is_err());
    store.write_grouped(id, |writer| writer.put_codes([Some(codes(0, 3).as_codes()), None])).unwrap();
    assert_eq!(view(&store, id).len(), 3);
    assert_sound(&store);
}

#[test]
fn dropping_a_transaction_removes_its_segments() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id = store.create_collection("photos", external(IdKind::Auto)).unwrap();
    let mut writer = store.writer(id).unwrap();
    writer.put_codes([Some(codes(0, 2000).as_codes()), None]).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path().join("segments")).unwrap().count(), 0);
}

#[test]
fn codes_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let auto = store.create_collection("auto", external(IdKind::Auto)).unwrap();
    let named = store.create_collection("named", external(IdKind::Str)).unwrap();
    let models = store.create_collection("models", config(IdKind::Auto)).unwrap();
    let short = CodesBuf::with_rows(CodeBits::new(8).unwrap(), 1).unwrap();
    let (one, two) = (codes(0, 1), codes(0, 2));
    for (id, columns) in [
        (auto, [None, None]),
        (auto, [Some(&short), None]),
        (auto, [Some(&one), Some(&two)]),
        (named, [Some(&one), None]),
        (models, [Some(&one), None]),
    ] {
        let mut writer = store.writer(id).unwrap();
        let columns = columns.map(|codes| codes.map(CodesBuf::as_codes));
        assert!(writer.put_codes(columns).is_err());
        assert_eq!(writer.rows(), 0);
    }
}
