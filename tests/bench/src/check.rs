//! Histories that others have written, judged.

use std::fs::File;
use std::io::BufReader;

use anyhow::{Context, Result};
use simplekv_history::{Checker, read};

use crate::args::Check;

/// Whether every history was judged to the end and found right.
pub(crate) fn run(check: &Check) -> Result<bool> {
    let checker = Checker { steps_per_key: check.steps };
    let mut is_clean = true;
    for path in &check.files {
        let name = path.display();
        let file = File::open(path).with_context(|| name.to_string())?;
        let history = read(BufReader::new(file)).with_context(|| name.to_string())?;
        let verdict = checker.check(&history);
        println!("{name}: {verdict}");
        is_clean &= verdict.is_clean();
    }
    Ok(is_clean)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn judged(names: &[&str]) -> Result<bool> {
        let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../history/corpus"));
        let files: Vec<PathBuf> = names.iter().map(|name| corpus.join(name)).collect();
        run(&Check { files, steps: Checker::default().steps_per_key })
    }

    #[test]
    fn one_wrong_history_among_right_ones_is_enough() {
        assert!(judged(&["right_sequential.jsonl", "right_long_read.jsonl"]).unwrap());
        assert!(!judged(&["right_sequential.jsonl", "wrong_stale_read.jsonl", "right_long_read.jsonl"]).unwrap());
    }

    #[test]
    fn what_is_no_history_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.jsonl");
        std::fs::write(&path, "{\"history\":1}\n{\"client\":1}\n").unwrap();
        let files = vec![path.clone()];
        let error = format!("{:#}", run(&Check { files, steps: 1 }).unwrap_err());
        assert!(error.starts_with(&path.display().to_string()) && error.contains("line 2: column"), "{error}");
        assert!(judged(&["no_such.jsonl"]).is_err());
    }
}
