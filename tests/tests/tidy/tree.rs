//! The files of the source tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::tokens::Source;

/// What building and running leave behind.
const NOT_SOURCE: [&str; 4] = ["target", "data", "data-standalone", ".git"];

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Paths from the root, with `/`, in order.
pub(crate) fn files() -> &'static [String] {
    static FILES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut files = Vec::new();
        collect(Path::new(""), &mut files);
        files.sort();
        files
    });
    &FILES
}

/// Every Rust file, tokenised.
pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let rust = files().iter().filter(|path| has_extension(path, "rs"));
        rust.map(|path| Source::read(path, &read(path))).collect()
    });
    &SOURCES
}

pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn collect(dir: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(dir)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let path: PathBuf = dir.join(&name);
        if entry.file_type().unwrap().is_dir() {
            if !NOT_SOURCE.contains(&name.as_str()) {
                collect(&path, files);
            }
        } else {
            files.push(path.to_str().expect("file names are UTF-8").to_owned());
        }
    }
}
