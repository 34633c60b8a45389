//! The data sets of the paper, in the files that its authors distribute.
//!
//! Their last rows are the queries and all others are trained on and searched in. They are divided
//! here once, so that no query can be among the rows trained on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Array, ArrayError, ArrayPairs, LabelMatrix, PictureArray, Result, Split, SplitPairs};

/// A data set of the paper: its files, and the sizes they must have.
///
/// ```
/// use twinbit::PublishedData;
///
/// let flickr = PublishedData::named("MIRFLICKR-25K").unwrap();
/// # let folder = tempfile::tempdir()?;
/// for part in flickr.check(folder.path()) {
///     match part.problem {
///         None => println!("{}: as it should be", part.what),
///         Some(problem) => println!("{}: {problem}", part.what),
///     }
/// }
/// assert!(flickr.open(folder.path()).is_err(), "the folder is empty");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedData {
    name: &'static str,
    /// Folder in which the authors' code looks for the files.
    folder: &'static str,
    pairs: usize,
    queries: usize,
    /// Image features, text features, labels.
    parts: [Part; 3],
    /// File and key of the raw pictures, where they are distributed.
    pictures: Option<(&'static str, &'static str)>,
}

/// One matrix of a data set, which may be made of several below each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    what: &'static str,
    width: usize,
    /// Files and keys, top to bottom.
    pieces: &'static [(&'static str, &'static str)],
}

const fn part(what: &'static str, width: usize, pieces: &'static [(&'static str, &'static str)]) -> Part {
    Part { what, width, pieces }
}

const PICTURES: &str = "pictures";
const IMAGE: &str = "image features";
const TEXT: &str = "text features";
const LABELS: &str = "labels";

const SETS: [PublishedData; 4] = [
    PublishedData {
        name: "MIRFLICKR-25K",
        folder: "MIRFLICKR25K",
        pairs: 20_015,
        queries: 2_000,
        parts: [
            part(IMAGE, 4096, &[("mirflickr25k-iall-vgg.mat", "XAll")]),
            part(TEXT, 1386, &[("mirflickr25k-yall.mat", "YAll")]),
            part(LABELS, 24, &[("mirflickr25k-lall.mat", "LAll")]),
        ],
        pictures: Some(("mirflickr25k-iall.mat", "IAll")),
    },
    PublishedData {
        name: "IAPR TC-12",
        folder: "IAPR-TC12",
        pairs: 20_000,
        queries: 2_000,
        parts: [
            part(IMAGE, 4096, &[("iapr-tc12-rand.mat", "VDatabase"), ("iapr-tc12-rand.mat", "VTest")]),
            part(TEXT, 2912, &[("iapr-tc12-rand.mat", "YDatabase"), ("iapr-tc12-rand.mat", "YTest")]),
            part(LABELS, 255, &[("iapr-tc12-rand.mat", "databaseL"), ("iapr-tc12-rand.mat", "testL")]),
        ],
        pictures: None,
    },
    PublishedData {
        name: "NUS-WIDE",
        folder: "NUS-WIDE-TC10",
        pairs: 186_577,
        queries: 2_100,
        parts: [
            part(IMAGE, 4096, &[("nus-wide-tc10-xall-vgg.mat", "XAll")]),
            part(TEXT, 1000, &[("nus-wide-tc10-yall.mat", "YAll")]),
            part(LABELS, 10, &[("nus-wide-tc10-lall.mat", "LAll")]),
        ],
        pictures: Some(("nus-wide-tc10-iall.mat", "IAll")),
    },
    PublishedData {
        name: "MS-COCO",
        folder: "MSCOCO",
        pairs: 122_218,
        queries: 5_000,
        parts: [
            part(IMAGE, 4096, &[("MSCOCO_deep_doc2vec_data_rand.h5py", "XAll")]),
            part(TEXT, 300, &[("MSCOCO_deep_doc2vec_data_rand.h5py", "YAll")]),
            part(LABELS, 80, &[("MSCOCO_deep_doc2vec_data_rand.h5py", "LAll")]),
        ],
        pictures: None,
    },
];

/// What a check found of one matrix of a data set, or of its pictures.
///
/// ```
/// use std::path::Path;
/// use twinbit::PublishedData;
///
/// for data in PublishedData::all() {
///     for part in data.check(Path::new("not there")) {
///         assert!(part.problem.is_some(), "{} in {}", part.what, part.files);
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckedPart {
    /// "image features", "text features", "labels" or "pictures".
    pub what: &'static str,
    /// The file and key, or files and keys, as looked for.
    pub files: String,
    /// Rows that there should be.
    pub rows: usize,
    /// Columns that there should be; of pictures any size will do.
    pub columns: Option<usize>,
    /// What is wrong; nothing when the matrix is as it should be, every value of it.
    pub problem: Option<crate::Error>,
}

impl PublishedData {
    /// MIRFLICKR-25K, IAPR TC-12, NUS-WIDE (10 concepts) and MS-COCO.
    pub fn all() -> &'static [PublishedData] {
        &SETS
    }

    /// The data set of this name, in capitals or not.
    pub fn named(name: &str) -> Option<&'static PublishedData> {
        SETS.iter().find(|set| set.name.eq_ignore_ascii_case(name))
    }

    /// Its name in the paper's tables.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Pairs in all.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// The last rows, which are queries.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Whether any of its files is in a folder.
    pub fn is_in(&self, folder: &Path) -> bool {
        !self.files(folder).is_empty()
    }

    /// Those of its files that are in a folder.
    pub fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let pieces = self.parts.iter().flat_map(|part| part.pieces).chain(&self.pictures);
        let mut files: Vec<PathBuf> = pieces.filter_map(|(file, _)| self.find(folder, file)).collect();
        files.dedup();
        files
    }

    /// Opens the data set, divided as published. Files are looked for in the folder and in the one of
    /// the authors' layout below it, with `-rand` in their names or without, and as `.npz` archives
    /// with the same keys.
    ///
    /// # Errors
    /// [`ArrayError::MissingFile`], [`ArrayError::OtherVersion`] when rows or columns are not those of
    /// the published data, and whatever keeps an array from being read.
    pub fn open(&self, folder: &Path) -> Result<SplitPairs> {
        let [image, ..] = &self.parts;
        let image = self.open_part(folder, image)?;
        self.open_with(folder, || Ok(image))
    }

    /// [`open`](Self::open) with features made of the [`pictures`](Self::pictures) in the place of the published
    /// ones: `features` is called once everything else is known to be as published.
    ///
    /// # Errors
    /// As [`open`](Self::open), as [`pictures`](Self::pictures), and what `features` fails with.
    pub fn open_pictures(
        &self,
        folder: &Path,
        features: impl FnOnce(&PictureArray) -> Result<Array>,
    ) -> Result<SplitPairs> {
        let pictures = self.pictures(folder)?;
        self.open_with(folder, || features(&pictures))
    }

    fn open_with(&self, folder: &Path, image: impl FnOnce() -> Result<Array>) -> Result<SplitPairs> {
        let [_, text, labels] = &self.parts;
        let text = self.open_part(folder, text)?;
        let labels = LabelMatrix::new(&self.open_part(folder, labels)?)?;
        let split = Split::last(self.pairs, self.queries)?;
        SplitPairs::new(ArrayPairs::new(image()?, text)?, split)?.labels(labels)
    }

    /// Opens the raw pictures of MIRFLICKR-25K or NUS-WIDE, looked for as [`open`](Self::open) does.
    ///
    /// # Errors
    /// [`ArrayError::NoPublishedPictures`] for other sets, [`ArrayError::OtherPictures`] when there are not as
    /// many as pairs, and as [`PictureArray::open`].
    pub fn pictures(&self, folder: &Path) -> Result<PictureArray> {
        let data = self.name;
        let (file, key) = self.pictures.ok_or(ArrayError::NoPublishedPictures { data })?;
        let pictures = PictureArray::open(self.spec(folder, file, key)?)?;
        if pictures.rows() != self.pairs {
            let (name, found) = (pictures.name().to_owned(), pictures.rows());
            return Err(ArrayError::OtherPictures { name, data, found, expected: self.pairs }.into());
        }
        Ok(pictures)
    }

    /// Reads every value of every matrix and says what is wrong. Raw pictures are looked at where they are, and
    /// then features of images need not be there.
    pub fn check(&self, folder: &Path) -> Vec<CheckedPart> {
        let is_there = |file: &str| self.find(folder, file).is_some();
        let pictures = self.pictures.filter(|(file, _)| is_there(file)).map(|(file, key)| CheckedPart {
            what: PICTURES,
            files: format!("{file}:{key}"),
            rows: self.pairs,
            columns: None,
            problem: self.pictures(folder).and_then(|pictures| Ok(pictures.check()?)).err(),
        });
        let is_needed = |part: &&Part| {
            part.what != IMAGE || pictures.is_none() || part.pieces.iter().any(|(file, _)| is_there(file))
        };
        let check = |part: &Part| {
            let array = self.open_part(folder, part)?;
            match part.what {
                LABELS => LabelMatrix::new(&array).map(|_| ()),
                _ => Ok(array.check_finite()?),
            }
        };
        let checked = self.parts.iter().filter(is_needed).map(|part| CheckedPart {
            what: part.what,
            files: part
                .pieces
                .iter()
                .map(|(file, key)| format!("{file}:{key}"))
                .collect::<Vec<_>>()
                .join(" + "),
            rows: self.pairs,
            columns: Some(part.width),
            problem: check(part).err(),
        });
        let mut checked: Vec<CheckedPart> = checked.collect();
        checked.extend(pictures);
        checked
    }

    fn open_part(&self, folder: &Path, part: &Part) -> Result<Array> {
        let mut whole: Option<Array> = None;
        for (file, key) in part.pieces {
            let piece = Array::open(self.spec(folder, file, key)?)?;
            whole = Some(match whole {
                None => piece,
                Some(above) => {
                    // The test part is the last one.
                    self.same_size(&piece, [self.queries, part.width])?;
                    above.stack(&piece)?
                }
            });
        }
        let whole = whole.ok_or_else(|| ArrayError::MissingFile {
            data: self.name,
            file: part.what.to_owned(),
            folder: folder.to_path_buf(),
        })?;
        self.same_size(&whole, [self.pairs, part.width])?;
        Ok(whole)
    }

    /// A file and a key of it.
    fn spec(&self, folder: &Path, file: &str, key: &str) -> Result<OsString> {
        let path = self.find(folder, file).ok_or_else(|| ArrayError::MissingFile {
            data: self.name,
            file: file.to_owned(),
            folder: folder.to_path_buf(),
        })?;
        let mut spec = path.into_os_string();
        spec.push(format!(":{key}"));
        Ok(spec)
    }

    fn same_size(&self, array: &Array, expected: [usize; 2]) -> Result<()> {
        let found = [array.rows(), array.width()];
        if found == expected {
            return Ok(());
        }
        Err(ArrayError::OtherVersion { name: array.name().to_owned(), data: self.name, found, expected }
            .into())
    }

    /// Where a file is.
    fn find(&self, folder: &Path, file: &str) -> Option<PathBuf> {
        let (stem, end) = file.rsplit_once('.')?;
        let other = match stem.strip_suffix("-rand") {
            Some(plain) => plain.to_owned(),
            None => format!("{stem}-rand"),
        };
        let folders = [folder.to_path_buf(), folder.join(self.folder)];
        let mut paths = folders.iter().flat_map(|folder| {
            let names =
                [stem, &other].into_iter().flat_map(|stem| [end, "npz"].map(|end| format!("{stem}.{end}")));
            names.map(|name| folder.join(name)).collect::<Vec<_>>()
        });
        paths.find(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::super::mat::tests::{compressed, file, flags, singles};
    use super::*;
    use crate::Error;

    /// The structure of MIRFLICKR-25K and of IAPR TC-12, with few rows and columns.
    fn small() -> [PublishedData; 2] {
        let [mut whole, mut stacked, ..] = SETS;
        for (set, pairs, queries) in [(&mut whole, 20, 4), (&mut stacked, 15, 5)] {
            (set.pairs, set.queries) = (pairs, queries);
            for (part, width) in set.parts.iter_mut().zip([6, 5, 3]) {
                part.width = width;
            }
        }
        [whole, stacked]
    }

    /// Writes the files of the small MIRFLICKR-25K; row i has the features i and the label i modulo 3.
    fn write_whole(folder: &Path) {
        let write = |name: &str, matrix: Vec<u8>| std::fs::write(folder.join(name), file(&[matrix])).unwrap();
        write("mirflickr25k-iall-vgg.mat", singles("XAll", 20, 6, |row, _| row as f32));
        write("mirflickr25k-yall.mat", compressed(&flags("YAll", 20, 5, |row, column| row % 5 == column)));
        write("mirflickr25k-lall.mat", flags("LAll", 20, 3, |row, class| row % 3 == class));
    }

    fn write_stacked(folder: &Path, test_rows: usize) {
        let image = |row: usize| row as f32;
        let matrices = [
            singles("VDatabase", 10, 6, |row, _| image(row)),
            flags("YDatabase", 10, 5, |row, column| row == column),
            flags("databaseL", 10, 3, |row, class| row % 3 == class),
            singles("VTest", test_rows, 6, |row, _| image(10 + row)),
            flags("YTest", test_rows, 5, |row, column| row == column),
            flags("testL", test_rows, 3, |row, class| row % 3 == class),
        ];
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("iapr-tc12.mat"), file(&matrices.map(|matrix| compressed(&matrix))))
            .unwrap();
    }

    #[test]
    fn the_last_rows_are_queries_and_never_trained_on() {
        let folder = tempfile::tempdir().unwrap();
        let [set, _] = small();
        assert!(!set.is_in(folder.path()));
        write_whole(folder.path());
        assert_eq!(set.files(folder.path()).len(), 3);
        let pairs = set.open(folder.path()).unwrap();
        assert_eq!(pairs.split().training, (0..16).collect::<Vec<u32>>());
        assert_eq!(pairs.split().queries, [16, 17, 18, 19]);
        assert_eq!(pairs.label_matrix().unwrap().classes(), 3);
        assert!(set.check(folder.path()).iter().all(|part| part.problem.is_none()));
    }

    #[test]
    fn test_rows_come_below_those_of_the_database_whatever_the_file_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let [_, set] = small();
        // Without "-rand", in a folder of the authors' layout.
        write_stacked(&folder.path().join("IAPR-TC12"), 5);
        let pairs = set.open(folder.path()).unwrap();
        assert_eq!(pairs.split().queries, (10..15).collect::<Vec<u32>>());
        let image = set.open_part(folder.path(), &set.parts[0]).unwrap().to_f32().unwrap();
        let rows: Vec<f32> = image.chunks(6).map(|row| row[0]).collect();
        assert_eq!(rows, (0..15).map(|row| row as f32).collect::<Vec<f32>>());
    }

    #[cfg(feature = "hdf5")]
    #[test]
    fn the_matrices_of_an_hdf5_file_are_a_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/arrays/plain.h5");
        let layout = folder.path().join("MSCOCO");
        std::fs::create_dir(&layout).unwrap();
        std::fs::copy(fixture, layout.join("MSCOCO_deep_doc2vec_data_rand.h5py")).unwrap();
        let mut set = SETS[3];
        (set.pairs, set.queries) = (12, 4);
        for (part, width) in set.parts.iter_mut().zip([3, 2, 3]) {
            part.width = width;
        }
        assert!(set.check(folder.path()).iter().all(|part| part.problem.is_none()));
        let pairs = set.open(folder.path()).unwrap();
        assert_eq!(pairs.split().queries, [8, 9, 10, 11]);
    }

    #[cfg(feature = "hdf5")]
    #[test]
    fn features_of_pictures_take_the_place_of_the_published_ones() {
        let folder = tempfile::tempdir().unwrap();
        let [mut set, _] = small();
        set.pairs = 24;
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/arrays/pictures.mat");
        std::fs::copy(fixture, folder.path().join("mirflickr25k-iall.mat")).unwrap();
        let write = |name: &str, matrix: Vec<u8>| {
            std::fs::write(folder.path().join(name), file(&[matrix])).unwrap();
        };
        write("mirflickr25k-lall.mat", flags("LAll", 24, 3, |row, class| row % 3 == class));
        let mut called = false;
        let refused = set.open_pictures(folder.path(), |_| {
            called = true;
            Err(Error::Canceled)
        });
        assert!(matches!(refused, Err(Error::Array(ArrayError::MissingFile { .. }))) && !called);
        write("mirflickr25k-yall.mat", flags("YAll", 24, 5, |row, column| row % 5 == column));
        assert!(set.check(folder.path()).iter().all(|part| part.problem.is_none()));
        let features = |pictures: &PictureArray| {
            let darkness = |picture: &crate::Picture| picture.rgb().iter().map(|level| level / 2).max();
            let bytes = pictures.read(0..24)?.iter().filter_map(darkness).collect();
            Ok(Array::in_memory("made".to_owned(), pictures.path(), crate::ElementType::U8, [24, 1], bytes))
        };
        let pairs = set.open_pictures(folder.path(), features).unwrap();
        assert_eq!(pairs.split().queries, [20, 21, 22, 23]);
        assert_eq!(pairs.training().unwrap().array(crate::Modality::Image).name(), "made");
    }

    #[test]
    fn other_sizes_missing_files_and_bad_values_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let [set, stacked] = small();
        write_whole(folder.path());
        std::fs::remove_file(folder.path().join("mirflickr25k-yall.mat")).unwrap();
        let nan = singles("XAll", 20, 6, |row, column| if (row, column) == (7, 2) { f32::NAN } else { 1.0 });
        std::fs::write(folder.path().join("mirflickr25k-iall-vgg.mat"), file(&[nan])).unwrap();
        let problems: Vec<Option<Error>> =
            set.check(folder.path()).into_iter().map(|part| part.problem).collect();
        assert!(matches!(
            problems.as_slice(),
            [
                Some(Error::Array(ArrayError::Value { row: 7, column: 2, .. })),
                Some(Error::Array(ArrayError::MissingFile { .. })),
                None
            ]
        ));
        write_stacked(folder.path(), 4);
        let refused = stacked.open(folder.path());
        assert!(matches!(refused, Err(Error::Array(ArrayError::OtherVersion { found: [4, 6], .. }))));
        // The published sizes themselves.
        let refused = PublishedData::named("mirflickr-25k").unwrap().check(folder.path());
        let expected = refused.iter().map(|part| (part.rows, part.columns)).collect::<Vec<_>>();
        assert_eq!(expected, [4096, 1386, 24].map(|columns| (20_015, Some(columns))));
        assert!(refused.iter().all(|part| part.problem.is_some()));
    }
}
