//! The shape of the repository, checked: who may use whom, what lies at the top level, how long a
//! file may be, where `unsafe` may stand, and that the build holds one version of each crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Package, and the packages of ours that it may use.
const LAYERS: [(&str, &[&str]); 7] = [
    ("twinbit-kernels", &[]),
    ("twinbit-hashing", &["twinbit-kernels"]),
    ("twinbit-storage", &["twinbit-kernels"]),
    ("twinbit", &["twinbit-kernels", "twinbit-hashing", "twinbit-storage"]),
    ("twinbit-cli", &["twinbit"]),
    ("twinbit-bench", &["twinbit-kernels", "twinbit-hashing", "twinbit-storage", "twinbit"]),
    ("twinbit-tests", &["twinbit-kernels", "twinbit-hashing", "twinbit-storage", "twinbit"]),
];

const TOP_LEVEL: [&str; 14] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "NOTICE",
    "README.md",
    "bench",
    "docs",
    "engine",
    "hashing",
    "kernels",
    "storage",
    "tests",
];

/// Longest file a reader is asked to hold in mind.
const LINES_A_FILE: usize = 800;

/// Crates that the build holds in two versions because two dependencies of ours disagree; none of
/// them is one that we use in both versions ourselves.
const TWICE: [(&str, &str); 9] = [
    ("getrandom", "ahash and tokenizers; tempfile and zip"),
    ("hashbrown", "safetensors; indexmap"),
    ("itertools", "bindgen and criterion; tokenizers"),
    ("libloading", "bindgen; cudarc"),
    ("miniz_oxide", "png; flate2"),
    ("rand", "candle and half; proptest"),
    ("rand_core", "the two of rand"),
    ("shlex", "bindgen; cc"),
    ("syn", "bindgen and derive_builder; serde_derive and thiserror"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("cargo metadata has no {key}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("cargo metadata has no list {key}"))
}

/// The files that git tracks or would track.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().map(PathBuf::from).filter(|name| root().join(name).is_file()).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    files()
        .into_iter()
        .filter(|name| {
            name.extension().is_some_and(|end| ["rs", "cu", "cuh", "py", "sh"].iter().any(|e| end == *e))
        })
        .map(|name| {
            let content = std::fs::read_to_string(root().join(&name)).unwrap();
            (name, content)
        })
        .collect()
}

#[test]
fn packages_use_only_the_layers_below_them() {
    let metadata = metadata();
    let ours: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    let members: Vec<&Value> =
        list(&metadata, "packages").iter().filter(|package| package["source"].is_null()).collect();
    let names: BTreeSet<&str> = members.iter().map(|package| text(package, "name")).collect();
    assert_eq!(names, ours.keys().copied().collect(), "the packages of the workspace");
    for package in members {
        let name = text(package, "name");
        for dependency in list(package, "dependencies") {
            let used = text(dependency, "name");
            if ours.contains_key(used) && used != name {
                assert!(ours[name].contains(&used), "{name} may not use {used}");
            }
        }
    }
}

#[test]
fn the_build_holds_one_version_of_each_crate() {
    let metadata = metadata();
    let resolved: BTreeSet<&str> =
        list(&metadata["resolve"], "nodes").iter().map(|node| text(node, "id")).collect();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in list(&metadata, "packages") {
        if resolved.contains(text(package, "id")) {
            versions.entry(text(package, "name")).or_default().insert(text(package, "version"));
        }
    }
    let twice: Vec<&str> =
        versions.into_iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| name).collect();
    assert_eq!(twice, TWICE.map(|(name, _)| name), "crates in more than one version");
}

#[test]
fn the_top_level_holds_what_it_should() {
    let seen: BTreeSet<String> = files()
        .iter()
        .filter_map(|name| name.components().next())
        .map(|first| first.as_os_str().to_string_lossy().into_owned())
        .filter(|first| !first.starts_with('.'))
        .collect();
    assert_eq!(seen, TOP_LEVEL.iter().map(ToString::to_string).collect());
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(name, content)| (name, content.lines().count()))
        .filter(|(_, lines)| *lines > LINES_A_FILE)
        .map(|(name, lines)| format!("{} has {lines} lines", name.display()))
        .collect();
    assert!(long.is_empty(), "more than {LINES_A_FILE} lines: {long:?}");
}

#[test]
fn unsafe_code_stays_where_it_is_allowed() {
    let found: Vec<String> = sources()
        .iter()
        .filter(|(name, _)| !name.starts_with("kernels") && name != Path::new("storage/src/mmap.rs"))
        .filter(|(name, _)| name != Path::new("tests/structure.rs"))
        .flat_map(|(name, content)| {
            content
                .lines()
                .enumerate()
                .filter(|(_, line)| {
                    let code = line.split("//").next().unwrap_or_default();
                    ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| code.contains(word))
                })
                .map(|(line, _)| format!("{}:{}", name.display(), line + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "unsafe outside kernels and storage/src/mmap.rs: {found:?}");
}

#[test]
fn files_are_named_for_what_they_hold() {
    let vague: Vec<PathBuf> = files()
        .into_iter()
        .filter(|name| {
            name.file_stem().is_some_and(|stem| {
                ["util", "utils", "helper", "helpers", "manager", "misc", "common"]
                    .iter()
                    .any(|word| stem == *word)
            })
        })
        .collect();
    assert!(vague.is_empty(), "{vague:?}");
}
