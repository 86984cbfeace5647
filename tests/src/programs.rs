//! The programs under test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The program called `name` that was built with the running executable.
///
/// # Errors
/// If it is not there, or older than one of its sources.
pub fn program(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().context("finding this executable")?;
    let dir = me.parent().context("an executable lies in a directory")?;
    // Tests lie one level deeper than programs: target/debug/deps.
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let path = dir.join(name);
    if !path.exists() {
        bail!("{} is not there; build it with `cargo build --workspace --bins --tests`", path.display());
    }
    refuse_stale(&path)?;
    Ok(path)
}

/// Compares the program with what cargo notes beside it: `program: source source …`, spaces in names escaped.
fn refuse_stale(program: &Path) -> Result<()> {
    let Ok(notes) = fs::read_to_string(program.with_extension("d")) else { return Ok(()) };
    let built = fs::metadata(program)?.modified()?;
    let (_, sources) = notes.split_once(": ").unwrap_or_default();
    for source in sources.replace("\\ ", "\0").split_whitespace().map(|source| source.replace('\0', " ")) {
        let changed = fs::metadata(&source).and_then(|source| source.modified());
        let newer = changed.is_ok_and(|changed| changed > built);
        ensure!(
            !newer,
            "{} is older than {source}; build it with `cargo build --workspace --bins --tests`",
            program.display()
        );
    }
    Ok(())
}
