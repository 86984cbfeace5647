//! Every Rust file belongs to a crate: a file that no module declares is never compiled, and rots.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use crate::tokens::Source;
use crate::tree::{files, sources};

/// Rust files that a crate reaches, and whether only its tests do.
static REACHED: LazyLock<BTreeMap<String, bool>> = LazyLock::new(|| {
    let by_path: BTreeMap<&str, &Source> = sources().iter().map(|source| (source.path.as_str(), source)).collect();
    let mut reached = BTreeMap::new();
    for manifest in files().iter().filter(|path| path.ends_with("Cargo.toml")) {
        let package = manifest.trim_end_matches("Cargo.toml");
        for root in by_path.keys().filter_map(|path| path.strip_prefix(package)).filter(|path| is_crate_root(path)) {
            let is_test = root.starts_with("tests/") || root.starts_with("benches/") || root.starts_with("examples/");
            let path = format!("{package}{root}");
            let dir = path.rsplit_once('/').map_or(String::new(), |(dir, _)| dir.to_owned());
            reach(&path, &dir, is_test, &by_path, &mut reached);
        }
    }
    reached
});

/// Whether only tests compile this file.
pub(crate) fn is_test_file(path: &str) -> bool {
    REACHED.get(path).copied().unwrap_or(false)
}

/// Whether cargo takes the file, named from its package, as the root of a crate.
fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["build.rs"] | ["src", "lib.rs" | "main.rs"] => true,
        ["src", "bin", ..] => parts.len() == 3,
        ["tests" | "benches" | "examples", name] => name.ends_with(".rs"),
        ["tests" | "benches" | "examples", _, "main.rs"] => true,
        _ => false,
    }
}

/// Marks the file and the modules it declares, whose files lie in `dir`.
fn reach(path: &str, dir: &str, is_test: bool, files: &BTreeMap<&str, &Source>, reached: &mut BTreeMap<String, bool>) {
    let Some(source) = files.get(path) else { return };
    reached.insert(path.to_owned(), is_test);
    for row in source.tokens.windows(3) {
        let [keyword, name, end] = row else { continue };
        if keyword.text == "mod" && end.text == ";" {
            let is_test = is_test || keyword.is_test;
            for file in [format!("{dir}/{}.rs", name.text), format!("{dir}/{}/mod.rs", name.text)] {
                reach(&file, &format!("{dir}/{}", name.text), is_test, files, reached);
            }
        }
    }
}

#[test]
fn every_rust_file_is_a_module_of_some_crate() {
    let orphans: Vec<String> = sources()
        .iter()
        .filter(|source| !REACHED.contains_key(&source.path))
        .map(|source| format!("{}: no `mod {};` declares it", source.path, stem(&source.path)))
        .collect();
    crate::assert_none("delete the file or declare it", &orphans);
}

fn stem(path: &str) -> String {
    Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
