//! Encoding on a card: the codes that the processor gives, whoever encodes.

use std::sync::atomic::Ordering;

use twinbit::{Collection, CudaError, Device, DeviceCosts, Error, Input, Modality, Model, Queries, Record};

use crate::things::{features, labels, put, quick, things};
use crate::{builder, for_nothing, with_card};

/// A collection without records, and a model for it.
fn empty(options: twinbit::Builder, folder: &std::path::Path, model: &Model) -> Collection {
    let collection = things(options, folder, 0, false);
    collection.install(model).unwrap();
    collection
}

fn model(folder: &std::path::Path, seed: u64) -> Model {
    let plain = things(builder().device(Device::Cpu), &folder.join(format!("model {seed}")), 200, false);
    let trainer = plain.trainer().config(quick()).seed(seed);
    trainer.fit(&plain.snapshot().unwrap()).unwrap().model
}

/// The codes of all records.
fn codes(collection: &Collection) -> Vec<[Option<Vec<u8>>; 2]> {
    let entries = collection.snapshot().unwrap().page(None, usize::MAX).unwrap();
    let of = |entry: &twinbit::Entry| Modality::ALL.map(|side| entry.code(side).map(<[u8]>::to_vec));
    entries.iter().map(of).collect()
}

#[test]
fn codes_are_the_same_whoever_encodes() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [1, 2].map(|seed| model(folder.path(), seed));
    let plain = empty(builder().device(Device::Cpu), &folder.path().join("plain"), &first);
    put(&plain, 700, true);
    let by_first = codes(&plain);
    plain.install(&second).unwrap();
    let by_second = codes(&plain);
    assert_ne!(by_first, by_second);
    for (name, device, costs) in [
        ("demanded", Device::Cuda(0), DeviceCosts::default()),
        ("for nothing", Device::Auto, for_nothing()),
        (
            "earned",
            Device::Auto,
            DeviceCosts { open: std::time::Duration::from_secs(2_000_000), ..for_nothing() },
        ),
    ] {
        let (options, health) = with_card(device);
        let on_card = empty(options.device_costs(costs), &folder.path().join(name), &first);
        assert_eq!(health.taken.load(Ordering::Relaxed), 0);
        put(&on_card, 700, true);
        assert_eq!(codes(&on_card), by_first, "{name}");
        assert!(health.taken.load(Ordering::Relaxed) > 0, "{name}: no network is on the card");
        on_card.install(&second).unwrap();
        assert_eq!(codes(&on_card), by_second, "{name}");
        let ask = |collection: &Collection| {
            let inputs = features(40).into_iter().map(|[image, _]| Input::features(image)).collect();
            let query = collection.snapshot().unwrap().query_many(Modality::Image, inputs);
            let hits = query.run_many().unwrap();
            let hit = |hit: &twinbit::Hit| (hit.id().clone(), hit.distance());
            hits.iter().map(|hits| hits.iter().map(hit).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(ask(&on_card), ask(&plain), "{name}");
    }
}

#[test]
fn scores_and_recall_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [1, 2].map(|seed| model(folder.path(), seed));
    let plain = empty(builder().device(Device::Cpu), &folder.path().join("plain"), &first);
    let (options, health) = with_card(Device::Cuda(0));
    let on_card = empty(options, &folder.path().join("card"), &first);
    let measure = |collection: &Collection| {
        put(collection, 300, false);
        let snapshot = collection.snapshot().unwrap();
        let (image, text) = features(50)
            .into_iter()
            .map(|[image, text]| (Input::features(image), Input::features(text)))
            .unzip();
        let queries = Queries::new(image, text).ids((0..50_u64).map(Into::into).collect());
        let ks = [1, 5, 10, 2_048];
        (
            snapshot.recall(None, &ks).unwrap(),
            snapshot.recall_with(&second, None, &ks).unwrap(),
            // More than a card can select.
            snapshot.recall(None, &[1, 2_049]).unwrap(),
            snapshot.evaluate(&queries, &labels(50), &labels(300), &ks).unwrap(),
            snapshot.evaluate_with(&second, &queries, &labels(50), &labels(300), &ks).unwrap(),
        )
    };
    let expected = measure(&plain);
    assert!((0.05..1.0).contains(&expected.0.image_to_text[1].1), "{:?}", expected.0);
    assert_eq!(measure(&on_card), expected);
    assert!(health.taken.load(Ordering::Relaxed) > 0);
}

#[test]
fn rows_without_a_direction_have_the_processors_code() {
    let folder = tempfile::tempdir().unwrap();
    // The same model with all weights zero: every output is zero, whose sign is positive.
    let mut bytes = model(folder.path(), 1).to_bytes();
    let start = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    for tensor in header.as_object().unwrap().values().filter(|tensor| tensor["dtype"] == "F16") {
        let [begin, end] = [0, 1].map(|at| start + tensor["data_offsets"][at].as_u64().unwrap() as usize);
        bytes[begin..end].fill(0);
    }
    let zero = Model::from_bytes(&bytes).unwrap();
    let (options, _) = with_card(Device::Cuda(0));
    let on_card = empty(options, &folder.path().join("card"), &zero);
    put(&on_card, 20, false);
    assert!(codes(&on_card).iter().flatten().all(|code| *code == Some(vec![0xff; 4])));
}

#[test]
fn a_card_that_cannot_is_an_error_where_it_was_demanded_and_the_processor_encodes_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path(), 1);
    let plain = empty(builder().device(Device::Cpu), &folder.path().join("plain"), &model);
    put(&plain, 50, false);
    let recall = |collection: &Collection| collection.snapshot().unwrap().recall(None, &[1, 5]);
    for broken in [false, true] {
        let open = |device| {
            let (options, health) = with_card(device);
            let path = folder.path().join(format!("{device} {broken}"));
            let collection = empty(options.device_costs(for_nothing()), &path, &model);
            health.memory.store(if broken { usize::MAX } else { 500 }, Ordering::Relaxed);
            health.broken.store(broken, Ordering::Relaxed);
            (collection, health)
        };
        let (demanded, health) = open(Device::Cuda(0));
        let [image, text] = features(1).remove(0);
        let error = demanded.put(Record::new(0).image(image).text(text)).unwrap_err();
        match broken {
            true => assert!(matches!(error, Error::NoCuda { reason: CudaError::Driver { .. } }), "{error}"),
            false => {
                assert!(matches!(error, Error::NoCuda { reason: CudaError::OutOfMemory { .. } }), "{error}")
            }
        }
        assert!(demanded.snapshot().unwrap().is_empty());
        health.memory.store(usize::MAX, Ordering::Relaxed);
        health.broken.store(false, Ordering::Relaxed);
        put(&demanded, 50, false);
        assert_eq!(codes(&demanded), codes(&plain), "with memory again the card encodes");
        health.memory.store(0, Ordering::Relaxed);
        assert!(matches!(recall(&demanded), Err(Error::NoCuda { .. })));
        let (automatic, health) = open(Device::Auto);
        put(&automatic, 50, false);
        assert_eq!(codes(&automatic), codes(&plain));
        assert_eq!(recall(&automatic).unwrap(), recall(&plain).unwrap());
        assert_eq!(health.taken.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn single_inputs_stay_on_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path(), 1);
    let (options, health) = with_card(Device::Auto);
    let things = empty(options, &folder.path().join("things"), &model);
    put(&things, 100, false);
    assert_eq!(health.taken.load(Ordering::Relaxed), 0);
    assert!(things.database().device_status().card.is_none(), "no card was opened");
}

#[test]
fn threads_share_the_networks() {
    let folder = tempfile::tempdir().unwrap();
    let models = [1, 2].map(|seed| model(folder.path(), seed));
    let plain = empty(builder().device(Device::Cpu), &folder.path().join("plain"), &models[0]);
    let (options, _) = with_card(Device::Cuda(0));
    let on_card = empty(options, &folder.path().join("card"), &models[0]);
    for collection in [&plain, &on_card] {
        put(collection, 200, false);
    }
    let expected =
        models.each_ref().map(|model| plain.snapshot().unwrap().recall_with(model, None, &[1]).unwrap());
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (on_card, models, expected) = (&on_card, &models, &expected);
            scope.spawn(move || {
                for round in 0..3 {
                    let which = (number + round) % 2;
                    let found = on_card.snapshot().unwrap().recall_with(&models[which], None, &[1]).unwrap();
                    assert_eq!(found, expected[which]);
                }
            });
        }
    });
}
