//! The house rules that a machine can check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each crate may depend on, besides crates of other people.
const ARROWS: &[(&str, &[&str])] = &[
    ("ir", &[]),
    ("eval", &["ir"]),
    ("kernels", &["ir"]),
    ("pool", &[]),
    ("import", &["ir", "eval"]),
    ("passes", &["ir", "eval"]),
    ("runtime", &["ir", "eval", "kernels"]),
];

/// Files that are longer than 600 lines, and why each is one thing.
const LONG_FILES: &[(&str, &str)] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` with this extension, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, fs::read_to_string(&path).unwrap())
    };
    ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs"))
        .map(read)
        .collect()
}

#[test]
fn crates_depend_downwards_only() {
    for (name, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(format!("src/{name}/Cargo.toml"))).unwrap();
        let section = manifest.split("[dependencies]").nth(1).unwrap_or("");
        let section = section.split("\n[").next().unwrap();
        for line in section.lines() {
            if let Some(dependency) = line.strip_prefix("planish-") {
                let dependency = dependency.split(['.', ' ', '=']).next().unwrap();
                assert!(
                    allowed.contains(&dependency),
                    "src/{name} must not depend on src/{dependency}"
                );
            }
        }
    }
}

#[test]
fn every_member_has_its_arrows() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest
        .lines()
        .find(|line| line.starts_with("members"))
        .unwrap();
    let listed: Vec<&str> = members
        .split('"')
        .filter_map(|part| part.strip_prefix("src/"))
        .collect();
    let known: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed.len(), known.len());
    assert!(
        listed.iter().all(|member| known.contains(member)),
        "{listed:?} against {known:?}"
    );
}

#[test]
fn unsafe_code_stands_in_the_runtime_and_where_processes_share_something() {
    let marker = ["unsafe", " {"].concat();
    let allowed = [
        "src/runtime/load.rs",
        "src/runtime/call.rs",
        "src/runtime/map.rs",
        "src/pool/os/fork.rs",
        "src/pool/os/window.rs",
        // Guard pages behind the buffers of the kernels' tests.
        "src/runtime/tests/kernels/guarded.rs",
    ];
    for (name, text) in sources() {
        assert!(
            allowed.contains(&name.as_str()) || !text.contains(&marker),
            "{name} has unsafe code"
        );
    }
}

#[test]
fn files_are_short_enough_to_read() {
    let mut seen = BTreeMap::new();
    for (name, text) in sources() {
        let test =
            name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("tests.rs");
        if text.lines().count() > 600 && !test {
            seen.insert(name, text.lines().count());
        }
    }
    for (name, _) in LONG_FILES {
        assert!(
            seen.remove(*name).is_some(),
            "{name} is no longer long: take it off the list"
        );
    }
    assert!(
        seen.is_empty(),
        "longer than 600 lines, without a reason in LONG_FILES: {seen:?}"
    );
}

#[test]
fn every_pass_has_cases() {
    for pass in planish::passes::passes() {
        let folder = root()
            .join("tests/cases")
            .join(pass.name().replace('-', "_"));
        assert!(
            !files(&folder, "ir").is_empty(),
            "{} has no case in {}",
            pass.name(),
            folder.display()
        );
    }
}

/// The folders of cases: one for each pass, and the texts that are wrong.
fn case_folders() -> Vec<String> {
    let passes = planish::passes::passes();
    let mut folders: Vec<String> = passes
        .iter()
        .map(|pass| pass.name().replace('-', "_"))
        .collect();
    folders.push("errors".to_owned());
    folders
}

#[test]
fn every_case_is_run() {
    let known = case_folders();
    for case in files(&root().join("tests/cases"), "ir") {
        let path = case.strip_prefix(root().join("tests/cases")).unwrap();
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        assert!(
            matches!(&parts[..], [folder, _] if known.contains(&folder.to_string())),
            "{} is in the folder of no pass",
            case.display()
        );
    }
}

#[test]
fn every_snapshot_has_its_case() {
    let snapshots = root().join("tests/snapshots");
    for folder in case_folders() {
        for snapshot in files(&snapshots.join(&folder), "snap") {
            let case = root()
                .join("tests/cases")
                .join(&folder)
                .join(snapshot.file_stem().unwrap())
                .with_extension("ir");
            assert!(case.exists(), "{} has no case", snapshot.display());
        }
    }
}

#[test]
fn every_snapshot_of_the_story_has_its_pass() {
    for snapshot in files(&root().join("tests/snapshots/pipeline"), "snap") {
        let name = snapshot.file_stem().unwrap().to_string_lossy();
        let (_, pass) = name.split_once('@').unwrap();
        let mut passes = planish::passes::FINALIZE.iter();
        assert!(
            passes.any(|known| known.name() == pass),
            "{} is of no pass of Finalize",
            snapshot.display()
        );
    }
}

#[test]
fn no_snapshot_waits_for_review() {
    for folder in ["src", "tests"] {
        let pending = files(&root().join(folder), "new");
        assert!(pending.is_empty(), "{pending:?}");
    }
}

#[test]
fn the_map_names_every_room() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (name, _) in ARROWS {
        assert!(
            map.contains(&format!("`src/{name}`")),
            "ARCHITECTURE.md does not name src/{name}"
        );
    }
}

#[test]
fn rooms_have_plain_names() {
    for (name, _) in sources() {
        let stem = Path::new(&name)
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert!(
            !["utils", "util", "helpers", "helper", "common", "misc"].contains(&stem.as_str()),
            "{name} says nothing"
        );
    }
}
