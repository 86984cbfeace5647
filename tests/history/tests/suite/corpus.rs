//! The histories in `corpus`, each with a sentence on what it is about. A wrong one is as short as its defect allows, so that a checker
//! which misses it cannot be excused by its size.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use simplekv_history::{Operation, check, read};

fn histories(beginning: &str) -> Vec<PathBuf> {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| name(path).starts_with(beginning));
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn history(path: &Path) -> Vec<Operation> {
    read(BufReader::new(File::open(path).unwrap())).unwrap_or_else(|error| panic!("{}: {error}", name(path)))
}

/// The first line of a history.
fn head(path: &Path) -> String {
    fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned()
}

#[test]
fn every_wrong_history_is_rejected_for_what_is_wrong_with_it() {
    let wrong = histories("wrong_");
    assert!(wrong.len() >= 25, "{} wrong histories", wrong.len());
    for path in wrong {
        let verdict = check(&history(&path));
        let [violation] = &*verdict.violations else { panic!("{}: {verdict}", name(&path)) };
        let expected = format!("\"kind\": \"{}\"", violation.kind);
        assert!(head(&path).contains(&expected), "{}: {verdict}", name(&path));
        assert!(violation.operations.len() <= 6, "{}: no small part shows it: {verdict}", name(&path));
    }
}

#[test]
fn every_right_history_is_accepted() {
    let right = histories("right_");
    assert!(right.len() >= 15, "{} right histories", right.len());
    for path in right {
        let verdict = check(&history(&path));
        assert!(verdict.is_clean(), "{}: {verdict}", name(&path));
    }
}

/// What is wrong stays wrong among operations that are not, and in any order of the lines.
#[test]
fn nothing_depends_on_the_order_of_the_lines() {
    for path in histories("") {
        let mut history = history(&path);
        let is_right = check(&history).is_clean();
        history.reverse();
        assert_eq!(check(&history).is_clean(), is_right, "{}", name(&path));
    }
}
