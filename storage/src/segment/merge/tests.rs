//! A merged segment has the bytes of one that was written from the alive rows at once.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::buffer::{Row, RowBuffer};
use crate::durable::Files;
use crate::id::RecordId;

const MODEL: ModelId = ModelId([9; 16]);
const COLLECTION: CollectionId = CollectionId(2);

/// What is stored of the rows of a collection.
#[derive(Clone, Copy, Debug)]
struct Kind {
    ids: IdKind,
    bits: Option<usize>,
    keep: bool,
    text: Text,
    /// Of 256: rows with an image, a text, an input beside the code, a gap before, an older id.
    shares: [u8; 5],
}

#[derive(Clone, Copy, Debug)]
enum Text {
    Plain,
    Features,
}

fn kind() -> impl Strategy<Value = Kind> {
    let share = || prop_oneof![Just(0_u8), Just(255), Just(128), any::<u8>()];
    (
        prop_oneof![Just(IdKind::Auto), Just(IdKind::U64), Just(IdKind::Str)],
        proptest::option::of(prop_oneof![Just(8_usize), Just(16), Just(32), Just(64), Just(128), Just(200)]),
        any::<bool>(),
        prop_oneof![Just(Text::Plain), Just(Text::Features)],
        [share(), share(), share(), share(), share()],
    )
        .prop_map(|(ids, bits, keep, text, shares)| Kind { ids, bits, keep, text, shares })
}

impl Kind {
    fn buffer(&self) -> RowBuffer {
        RowBuffer::new(self.ids, self.bits.map(|bits| CodeBits::new(bits).unwrap()), self.keep)
    }

    /// A row made of a number; the same number makes the same row.
    fn push(&self, buffer: &mut RowBuffer, ordinal: u64) {
        let chance = |what: usize| {
            let mixed = (ordinal * 8 + what as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 40) as u8
        };
        let decide = |what: usize| chance(what) < self.shares[what] || self.shares[what] == 255;
        let mut present = [decide(0), decide(1)];
        if present == [false; 2] {
            present[ordinal as usize % 2] = true;
        }
        let features =
            |width: u64| Cow::Owned((0..width).map(|i| f16::from_f32((ordinal + i) as f32)).collect());
        let has_input = self.bits.is_none() || decide(2);
        let text = "word ".repeat(ordinal as usize % 11) + &ordinal.to_string();
        let code = |present: bool, modality: u64| {
            let bits = self.bits.filter(|_| present)?;
            Some(Cow::Owned((0..bits as u64 / 8).map(|i| (ordinal * 7 + i * 3 + modality) as u8).collect()))
        };
        buffer
            .push(&Row {
                ordinal,
                id: Cow::Owned(match self.ids {
                    IdKind::Auto if decide(4) => RecordId::U64(ordinal / 2),
                    IdKind::Auto => RecordId::U64(ordinal),
                    IdKind::U64 => RecordId::U64(ordinal * 1000),
                    IdKind::Str => RecordId::Str("x".repeat(ordinal as usize % 5) + &ordinal.to_string()),
                }),
                present,
                image: (present[0] && has_input).then(|| features(3)),
                text: (present[1] && has_input && matches!(self.text, Text::Plain)).then_some(text.as_str()),
                text_features: (present[1] && has_input && matches!(self.text, Text::Features))
                    .then(|| features(2)),
                codes: [code(present[0], 1), code(present[1], 2)],
            })
            .unwrap();
    }
}

fn layout(folder: &Path) -> Layout {
    let layout = Layout::new(folder, Files::default());
    layout.create_folders().unwrap();
    layout
}

fn files(segment: &Segment) -> Vec<Vec<u8>> {
    let mut files = vec![fs::read(segment.rows.file().path()).unwrap()];
    files.extend(segment.codes.as_ref().map(|codes| fs::read(codes.file().path()).unwrap()));
    files
}

/// Writes segments of the given numbers of rows, merges them without the rows for which `is_dead`
/// holds, and compares.
fn check(kind: Kind, parts: &[usize], piece: usize, is_dead: impl Fn(u64) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let model = kind.bits.map(|_| MODEL);
    let (mut dead, mut expected, mut ordinal) = (Dead::default(), kind.buffer(), 7);
    let mut segments = Vec::new();
    for (number, rows) in parts.iter().enumerate() {
        let mut buffer = kind.buffer();
        for _ in 0..*rows {
            ordinal += 1 + u64::from(kind.shares[3] > 0 && ordinal % 9 < u64::from(kind.shares[3]) / 32);
            kind.push(&mut buffer, ordinal);
            match is_dead(ordinal) {
                true => dead.insert(ordinal),
                false => kind.push(&mut expected, ordinal),
            }
        }
        // Noted as dead without ever having been a row of a segment.
        ordinal += 1;
        dead.insert(ordinal);
        segments.push(Segment::write(&layout, number as u32, COLLECTION, model, &buffer).unwrap());
    }
    let merge = Merge {
        segments: &segments,
        dead: &dead,
        collection: COLLECTION,
        ids: kind.ids,
        bits: CodeBits::new(kind.bits.unwrap_or(64)).unwrap(),
        model,
        piece,
    };
    let merged = merge.write(&layout, 77, &mut |_| Ok(()));
    let merged = merged.unwrap().map(|segment| files(&segment));
    let expected = (expected.rows() > 0)
        .then(|| files(&Segment::write(&layout, 77, COLLECTION, model, &expected).unwrap()));
    assert!(merged == expected, "{kind:?} {parts:?}");
    drop(segments);
    assert_eq!(fs::read_dir(folder.path().join("segments")).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn merging_equals_writing_at_once(
        kind in kind(),
        parts in proptest::collection::vec(1_usize..150, 1..6),
        piece in 1_usize..4000,
        period in 1_u64..20,
        share in 0_u64..20,
    ) {
        // Dead rows in runs of several lengths, none and all of them included.
        check(kind, &parts, piece, |ordinal| ordinal / 5 % period < share);
    }
}

/// More rows than are treated at once, whole blocks and odd ends.
#[test]
fn long_segments_are_merged_piece_by_piece() {
    let kind = Kind {
        ids: IdKind::Str,
        bits: Some(64),
        keep: true,
        text: Text::Plain,
        shares: [255, 200, 255, 0, 0],
    };
    check(kind, &[70_001, 9, 140_000], 1 << 16, |ordinal| ordinal % 50_000 == 3);
    check(Kind { ids: IdKind::Auto, keep: false, ..kind }, &[65_536, 131_072, 1], 1 << 16, |_| false);
}

#[test]
fn a_damaged_segment_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let kind = Kind { ids: IdKind::U64, bits: Some(64), keep: true, text: Text::Plain, shares: [255; 5] };
    for damage_codes in [false, true] {
        let segments: Vec<Segment> = (0..2)
            .map(|number| {
                let mut buffer = kind.buffer();
                (0..20).for_each(|row| kind.push(&mut buffer, u64::from(number) * 20 + row));
                Segment::write(&layout, number, COLLECTION, Some(MODEL), &buffer).unwrap()
            })
            .collect();
        let path = match damage_codes {
            true => segments[1].codes.as_ref().unwrap().file().path(),
            false => segments[1].rows.file().path(),
        };
        let mut bytes = fs::read(path).unwrap();
        bytes[4096 + 5] ^= 1;
        fs::write(path, bytes).unwrap();
        let merge = Merge {
            segments: &segments,
            dead: &Dead::default(),
            collection: COLLECTION,
            ids: kind.ids,
            bits: CodeBits::B64,
            model: Some(MODEL),
            piece: 1 << 16,
        };
        let refused = merge.write(&layout, 9, &mut |_| Ok(()));
        assert!(matches!(refused, Err(Error::Corrupt { path: at, .. }) if at == path));
    }
}

/// Whenever it ends, nothing is left behind.
#[test]
fn a_merge_that_is_ended_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let kind = Kind { ids: IdKind::Str, bits: Some(64), keep: true, text: Text::Plain, shares: [128; 5] };
    let mut buffer = kind.buffer();
    (0..300).for_each(|row| kind.push(&mut buffer, row));
    let segments = [Segment::write(&layout, 1, COLLECTION, Some(MODEL), &buffer).unwrap()];
    let dead = Dead::default();
    let merge = Merge {
        segments: &segments,
        dead: &dead,
        collection: COLLECTION,
        ids: kind.ids,
        bits: CodeBits::B64,
        model: Some(MODEL),
        piece: 500,
    };
    let left = || fs::read_dir(folder.path().join("segments")).unwrap().count();
    for steps in 0.. {
        let mut taken = 0;
        let ended = merge.write(&layout, 9, &mut |_| {
            taken += 1;
            if taken > steps { Err(Error::Canceled) } else { Ok(()) }
        });
        assert_eq!(left(), if ended.is_ok() { 4 } else { 2 });
        match ended {
            Ok(_) if steps > 15 => break,
            Ok(_) => panic!("only {steps} steps"),
            Err(error) => assert!(matches!(error, Error::Canceled)),
        }
    }
}
