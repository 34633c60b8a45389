//! Ground truth for measuring: which classes a row belongs to.

use crate::Error;

/// Most classes that labels may name.
const MAX_CLASSES: usize = 1 << 16;

/// A 0/1 matrix (rows, classes), kept as bits. Two rows are relevant to each other when they share
/// a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    rows: usize,
    classes: usize,
    words_per_row: usize,
    words: Vec<u64>,
}

impl Labels {
    /// Labels from a dense matrix, row-major, of zeros and ones.
    ///
    /// # Errors
    /// [`Error::Shape`] when `values` is not rows times classes long, [`Error::Label`] when a value
    /// is neither 0 nor 1 or there are more than 65,536 classes.
    pub fn from_dense(rows: usize, classes: usize, values: &[u8]) -> Result<Self, Error> {
        if rows.checked_mul(classes) != Some(values.len()) {
            return Err(Error::Shape {
                what: "values of the label matrix",
                expected: rows.saturating_mul(classes),
                got: values.len(),
            });
        }
        let mut labels = Self::empty(rows, classes)?;
        for (index, &value) in values.iter().enumerate() {
            match value {
                0 => {}
                1 => labels.set(index / classes, index % classes),
                _ => {
                    return Err(Error::Label {
                        row: index / classes,
                        value: u64::from(value),
                        expected: "labels are 0 or 1",
                    });
                }
            }
        }
        Ok(labels)
    }

    /// Labels from each row's class ids, which start at 0.
    ///
    /// # Errors
    /// [`Error::Label`] when an id is 65,536 or more.
    pub fn from_sets<S>(sets: impl IntoIterator<Item = S>) -> Result<Self, Error>
    where
        S: IntoIterator<Item = u32>,
    {
        let mut rows = 0;
        let mut members = Vec::new();
        for set in sets {
            for class in set {
                if class as usize >= MAX_CLASSES {
                    return Err(Error::Label {
                        row: rows,
                        value: u64::from(class),
                        expected: "class ids are below 65536",
                    });
                }
                members.push((rows, class as usize));
            }
            rows += 1;
        }
        let classes = members.iter().map(|&(_, class)| class + 1).max().unwrap_or(0);
        let mut labels = Self::empty(rows, classes)?;
        members.iter().for_each(|&(row, class)| labels.set(row, class));
        Ok(labels)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether row `row` shares a class with row `other_row` of `other`. Rows that do not exist
    /// share none.
    pub fn relevant(&self, row: usize, other: &Labels, other_row: usize) -> bool {
        share(self.row(row), other.row(other_row))
    }

    /// A row's classes as bits; empty when there is no such row.
    pub(crate) fn row(&self, row: usize) -> &[u64] {
        let at = row.saturating_mul(self.words_per_row);
        self.words.get(at..at.saturating_add(self.words_per_row)).unwrap_or(&[])
    }

    /// The classes of all rows as bits, each row from a new word on.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// The first rows, as many as there are up to `rows`.
    pub(crate) fn first(&self, rows: usize) -> Self {
        let rows = rows.min(self.rows);
        Self { rows, words: self.words[..rows * self.words_per_row].to_vec(), ..*self }
    }

    fn empty(rows: usize, classes: usize) -> Result<Self, Error> {
        if classes > MAX_CLASSES {
            return Err(Error::Label { row: 0, value: classes as u64, expected: "at most 65536 classes" });
        }
        let words_per_row = classes.div_ceil(64);
        Ok(Self { rows, classes, words_per_row, words: vec![0; rows * words_per_row] })
    }

    fn set(&mut self, row: usize, class: usize) {
        self.words[row * self.words_per_row + class / 64] |= 1 << (class % 64);
    }
}

/// Whether two sets of classes meet.
pub(crate) fn share(one: &[u64], other: &[u64]) -> bool {
    one.iter().zip(other).any(|(one, other)| one & other != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_share_a_class_are_relevant() {
        let mut dense = vec![0; 2 * 70];
        dense[69] = 1;
        dense[70] = 1;
        let labels = Labels::from_dense(2, 70, &dense).unwrap();
        let sets = Labels::from_sets([vec![69], vec![0, 3], vec![]]).unwrap();
        assert!(labels.relevant(0, &sets, 0));
        assert!(!labels.relevant(0, &sets, 1));
        assert!(labels.relevant(1, &sets, 1));
        assert!(!labels.relevant(0, &sets, 2));
        assert!(!labels.relevant(0, &sets, 9));
    }

    #[test]
    fn classes_beyond_the_smaller_matrix_are_never_shared() {
        let narrow = Labels::from_sets([[1]]).unwrap();
        let wide = Labels::from_sets([[200]]).unwrap();
        assert!(!narrow.relevant(0, &wide, 0));
    }

    #[test]
    fn bad_labels_are_refused() {
        assert!(matches!(Labels::from_dense(1, 2, &[0, 2]), Err(Error::Label { row: 0, value: 2, .. })));
        assert!(matches!(Labels::from_dense(2, 2, &[0]), Err(Error::Shape { .. })));
        assert!(matches!(Labels::from_sets([[1], [70_000]]), Err(Error::Label { row: 1, .. })));
    }
}
