//! Patterns that stand for many files.

use std::path::{Path, PathBuf};

use super::error::SourceError;

/// The most files that a pattern may stand for.
const MAX_FILES: usize = 1_000_000;

/// The files that a pattern stands for, in order: `{00000..00012}` counts, padded as its first number
/// is, `{a,b}` lists, and `*`, `?` and `[…]` match the names of files that are there, in the order of
/// these names.
///
/// What is the name of a file as it stands is this file.
///
/// # Errors
/// When the braces are not closed or count wrongly, nothing matches, or it stands for more than a
/// million files.
///
/// ```
/// let shards = twinbit::expand_pattern("shards/{08..10}.tar")?;
/// assert_eq!(shards.last(), Some(&"shards/10.tar".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn expand_pattern(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    if Path::new(pattern).exists() {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let wrong =
        |reason: &str| SourceError::Pattern { pattern: pattern.to_owned(), reason: reason.to_owned() };
    let mut pending = vec![pattern.to_owned()];
    let mut names = Vec::new();
    // From the back, so that what comes first in the pattern changes slowest.
    while let Some(next) = pending.pop() {
        let Some((before, rest)) = next.split_once('{') else {
            names.push(next);
            continue;
        };
        let Some((inside, after)) = rest.split_once('}') else {
            return Err(wrong("a brace is not closed"));
        };
        let alternatives = alternatives(inside).ok_or_else(|| {
            wrong("between braces stands a list, as in {a,b}, or two numbers, as in {00..12}, the smaller one first")
        })?;
        if names.len() + pending.len() + alternatives.len() > MAX_FILES {
            return Err(wrong("it stands for more than a million files"));
        }
        let whole = alternatives.into_iter().map(|inside| format!("{before}{inside}{after}"));
        pending.extend(whole.rev());
    }
    let mut paths = Vec::new();
    for name in names {
        if !name.contains(['*', '?', '[']) || Path::new(&name).exists() {
            paths.push(PathBuf::from(name));
            continue;
        }
        let found = glob::glob(&name).map_err(|error| wrong(error.msg))?;
        for path in found {
            paths.push(
                path.map_err(|error| SourceError::Io {
                    path: error.path().to_owned(),
                    source: error.into(),
                })?,
            );
        }
        if paths.len() > MAX_FILES {
            return Err(wrong("it stands for more than a million files"));
        }
    }
    if paths.is_empty() { Err(wrong("no file matches it")) } else { Ok(paths) }
}

/// What stands between braces, one by one.
fn alternatives(inside: &str) -> Option<Vec<String>> {
    let Some((first, last)) = inside.split_once("..") else {
        return inside.contains(',').then(|| inside.split(',').map(str::to_owned).collect());
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return None;
    }
    let width = first.len();
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    if last < first || last - first >= MAX_FILES as u64 {
        return None;
    }
    Some((first..=last).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(pattern: &str) -> Vec<String> {
        let paths = expand_pattern(pattern).unwrap();
        paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn braces_count_and_list() {
        assert_eq!(expand("a/{008..011}.tar"), ["a/008.tar", "a/009.tar", "a/010.tar", "a/011.tar"]);
        assert_eq!(expand("{x,y}-{9..10}"), ["x-9", "x-10", "y-9", "y-10"]);
        assert_eq!(expand("plain.tar"), ["plain.tar"]);
    }

    #[test]
    fn stars_match_what_is_there_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.tar", "a.tar", "a.txt", "{1}.tar"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let within = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        assert_eq!(expand(&within("?.tar")), [within("a.tar"), within("b.tar")]);
        assert_eq!(expand(&within("{b,a}.t*")), [within("b.tar"), within("a.tar"), within("a.txt")]);
        assert_eq!(expand(&within("{1}.tar")), [within("{1}.tar")]);
    }

    #[test]
    fn patterns_that_stand_for_nothing_are_refused() {
        for (pattern, reason) in [
            ("{0..1", "not closed"),
            ("{5..1}", "smaller one first"),
            ("{a}", "smaller one first"),
            ("{0..99999999999999999999}", "smaller one first"),
            ("{000..999}{000..999}{0..9}", "million"),
            ("/no/such/*.tar", "no file matches"),
        ] {
            let error = expand_pattern(pattern).unwrap_err().to_string();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }
}
