use super::*;

fn recorded(steps: Vec<Step>) -> Recorded {
    Recorded {
        steps: steps.into_iter().enumerate().collect(),
        next: 0,
        files: vec![FileState::default(); 2],
        folders: vec![FolderState::default()],
    }
}

fn name(name: &str, file: usize) -> Step {
    Step::Names { folder: 0, entries: vec![(name.to_owned(), Some(Node::File(file)))] }
}

fn data(bytes: &[u8]) -> Step {
    Step::Data { file: 0, offset: 0, bytes: bytes.to_vec() }
}

/// All contents of `a` that many failures leave, `None` for no such file.
fn outcomes(recorded: &Recorded) -> std::collections::BTreeSet<Option<Vec<u8>>> {
    let folder = tempfile::tempdir().expect("a folder");
    (0..300)
        .map(|seed| {
            let target = folder.path().join(seed.to_string());
            recorded.write_after_power_loss(&target, &mut CrashModel::new(seed));
            fs::read(target.join("a")).ok()
        })
        .collect()
}

#[test]
fn what_was_not_synced_may_be_lost_and_what_was_is_not() {
    let began = 2;
    let steps = vec![
        name("a", 0),
        data(b"xy"),
        Step::Sync { node: Node::File(0), began },
        Step::Sync { node: Node::Folder(0), began: 3 },
        data(b"z"),
    ];
    let mut disk = recorded(steps);
    disk.advance(2);
    let found = outcomes(&disk);
    for expected in [None, Some(vec![]), Some(b"x".to_vec()), Some(b"xy".to_vec()), Some(vec![0, 0])] {
        assert!(found.contains(&expected), "{expected:?}");
    }
    disk.advance(3);
    assert_eq!(outcomes(&disk), [None, Some(b"xy".to_vec())].into());
    disk.advance(4);
    assert_eq!(outcomes(&disk), [Some(b"xy".to_vec())].into());
    disk.advance(5);
    assert_eq!(outcomes(&disk), [Some(b"xy".to_vec()), Some(b"zy".to_vec())].into());
}

#[test]
fn a_sync_does_not_cover_what_returned_after_it_began() {
    let mut disk = recorded(vec![name("a", 0), data(b"xy"), Step::Sync { node: Node::File(0), began: 1 }]);
    disk.advance(3);
    assert!(outcomes(&disk).contains(&Some(vec![])));
}

/// Row 3, `Eventual`, seed 1669: RocksDB makes a manifest and renames `CURRENT` to name it before it
/// syncs the folder. A file system that lost the first and kept the second left a catalog without its
/// manifest.
#[test]
fn a_name_survives_only_with_the_earlier_changes_of_its_folder() {
    let mut disk = recorded(vec![
        name("MANIFEST", 0),
        name("CURRENT", 1),
        Step::Names { folder: 1, entries: vec![("other".to_owned(), Some(Node::File(1)))] },
    ]);
    disk.folders.push(FolderState::default());
    disk.advance(3);
    let found: std::collections::BTreeSet<Vec<bool>> = (0..200)
        .map(|seed| {
            let folders = CrashModel::new(seed).names(&disk.folders);
            let there = |folder: usize, name| folders[folder].contains_key(name);
            vec![there(0, "MANIFEST"), there(0, "CURRENT"), there(1, "other")]
        })
        .collect();
    // Every end of the one folder's changes, each with and without those of the other.
    let expected = [[false, false], [true, false], [true, true]];
    let with = |other| expected.iter().map(move |[manifest, current]| vec![*manifest, *current, other]);
    assert_eq!(found, with(false).chain(with(true)).collect());
}
