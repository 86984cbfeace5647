//! How every binary is configured: `defaults < file < environment < flags`.
//!
//! A binary describes its keys by the default value of a plain struct of sections; that value *is* the list of known keys and their
//! types. [`load`] lays the file, the environment and the flags over it, remembers where each value came from, and reports every
//! problem at once, naming the nearest key for an unknown one. What the values mean is the binary's own business: it turns the
//! result into something that cannot be wrong and reports what it refuses through [`Loaded::problem`].

mod layer;
mod problem;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

pub use problem::{Origin, Problem, Problems};

use layer::Overlay;

/// Prefix of the environment variables: `SIMPLEKV_STORAGE__FLUSH` is key `flush` of section `storage`.
pub const ENV_PREFIX: &str = "SIMPLEKV_";

/// A configuration with the origin of each of its values.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The values.
    pub values: T,
    origins: BTreeMap<String, Origin>,
    merged: Table,
}

impl<T> Loaded<T> {
    /// Where the value of `section.key` comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// A problem with the value of `section.key`, told with the place it was set.
    #[must_use]
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem::new(key, self.origin(key), message)
    }

    /// The effective configuration as TOML, each value with its origin.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (section, values) in &self.merged {
            text.push_str(&format!("[{section}]\n"));
            for (key, value) in values.as_table().into_iter().flatten() {
                let origin = self.origin(&format!("{section}.{key}"));
                text.push_str(&format!("{key} = {value}  # {origin}\n"));
            }
            text.push('\n');
        }
        text
    }
}

/// Lays file, environment and flags over the defaults.
///
/// `environment` is what [`std::env::vars_os`] yields; variables without [`ENV_PREFIX`] or without `__` are not ours. `flags` are
/// `("section.key", "text")` pairs, read like environment variables: lists are separated by commas.
///
/// # Errors
/// Every unreadable file, unknown key and value of the wrong type, together.
pub fn load<T: Serialize + DeserializeOwned + Default>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[(String, String)],
) -> Result<Loaded<T>, Problems> {
    let (loaded, problems) = lay(file, environment, flags);
    if problems.is_empty() { Ok(loaded) } else { Err(Problems(problems)) }
}

/// Loads a configuration and says what it means, by `check`.
///
/// # Errors
/// Those of [`load`] and those of `check`, together. Where a value could not even be read, `check` sees the default, and what it
/// says about that is left out.
pub fn load_checked<T: Serialize + DeserializeOwned + Default, C>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[(String, String)],
    check: impl FnOnce(&Loaded<T>) -> Result<C, Problems>,
) -> Result<(C, Loaded<T>), Problems> {
    let (loaded, mut problems) = lay(file, environment, flags);
    match check(&loaded) {
        Ok(checked) if problems.is_empty() => Ok((checked, loaded)),
        Ok(_) => Err(Problems(problems)),
        Err(Problems(found)) => {
            let is_new = |problem: &Problem| problems.iter().all(|known| known.key() != problem.key());
            let new: Vec<Problem> = found.into_iter().filter(is_new).collect();
            problems.extend(new);
            Err(Problems(problems))
        }
    }
}

/// The values, those that cannot be at their defaults, and what is wrong with these.
fn lay<T: Serialize + DeserializeOwned + Default>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[(String, String)],
) -> (Loaded<T>, Vec<Problem>) {
    let defaults = Table::try_from(T::default()).expect("a configuration's defaults are tables of plain values");
    let mut overlay = Overlay::new(defaults);
    if let Some(path) = file {
        overlay.file(path);
    }
    for (name, text) in environment {
        if let Some(key) = variable_key(&name) {
            let origin = Origin::Environment(name.to_string_lossy().into_owned());
            match text.to_str() {
                Some(text) => overlay.text(&key, text, origin),
                None => overlay.refuse(&key, origin, "its value is not UTF-8"),
            }
        }
    }
    for (key, text) in flags {
        overlay.text(key, text, Origin::Flag(key.clone()));
    }
    // A number may have the type of its default and still be too large, or negative.
    let values = overlay.settle();
    let (merged, origins, problems) = overlay.finish();
    (Loaded { values, origins, merged }, problems)
}

fn variable_key(name: &OsStr) -> Option<String> {
    let name = name.to_string_lossy();
    let (section, key) = name.strip_prefix(ENV_PREFIX)?.split_once("__")?;
    Some(format!("{}.{}", section.to_ascii_lowercase(), key.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Settings {
        storage: Storage,
        etcd: Etcd,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Storage {
        flush: String,
        flush_interval_ms: u64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Etcd {
        endpoints: Vec<String>,
        watch: bool,
    }

    impl Default for Settings {
        fn default() -> Self {
            Self {
                storage: Storage { flush: "always".into(), flush_interval_ms: 200 },
                etcd: Etcd { endpoints: vec!["127.0.0.1:2379".into()], watch: true },
            }
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect()
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let file = file("[storage]\nflush = 'os'\nflush_interval_ms = 5\n[etcd]\nendpoints = ['a:1']\n");
        let environment = variables(&[
            ("SIMPLEKV_STORAGE__FLUSH", "replicated"),
            ("SIMPLEKV_ETCD__ENDPOINTS", "b:1,c:2"),
            ("HOME", "/"),
        ]);
        let flags = pairs(&[("etcd.watch", "false")]);
        let loaded: Loaded<Settings> = load(Some(file.path()), environment, &flags).unwrap();
        let expected = Settings {
            storage: Storage { flush: "replicated".into(), flush_interval_ms: 5 },
            etcd: Etcd { endpoints: vec!["b:1".into(), "c:2".into()], watch: false },
        };
        assert_eq!(loaded.values, expected);
        assert_eq!(loaded.origin("storage.flush"), Origin::Environment("SIMPLEKV_STORAGE__FLUSH".into()));
        assert_eq!(loaded.origin("etcd.watch"), Origin::Flag("etcd.watch".into()));
        assert!(loaded.describe().contains("flush = \"replicated\"  # environment variable SIMPLEKV_STORAGE__FLUSH"));
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_place() {
        let file = file("[storage]\nflush_intervall_ms = 5\nflush = 3\n[etdc]\nx = 1\n");
        let environment = variables(&[("SIMPLEKV_ETCD__WATCH", "maybe")]);
        let problems = load::<Settings>(Some(file.path()), environment, &[]).unwrap_err();
        let text = problems.to_string();
        for part in [
            "storage.flush_intervall_ms",
            "line 2",
            "did you mean `storage.flush_interval_ms`?",
            "storage.flush",
            "expected a text",
            "section `etdc`",
            "did you mean `etcd`?",
            "SIMPLEKV_ETCD__WATCH",
            "expected true or false",
        ] {
            assert!(text.contains(part), "no `{part}` in:\n{text}");
        }
        assert_eq!(problems.0.len(), 4);
    }

    #[test]
    fn a_number_out_of_range_is_told_with_its_place_and_hides_nothing() {
        let file = file("[storage]\nflush_interval_ms = -1\nflush = 'never'\n");
        let check = |loaded: &Loaded<Settings>| {
            assert_eq!(loaded.values.storage.flush_interval_ms, 200, "the default stands in");
            let about = |key| loaded.problem(key, "is refused");
            Err::<(), _>(Problems(vec![about("storage.flush"), about("storage.flush_interval_ms")]))
        };
        let problems = load_checked(Some(file.path()), [], &[], check).unwrap_err();
        let text = problems.to_string();
        let (first, second) = text.split_once('\n').unwrap();
        assert!(first.starts_with("storage.flush_interval_ms (") && first.contains("line 2)"), "{text}");
        assert!(second.starts_with("storage.flush (") && second.ends_with("line 3): is refused"), "{text}");
    }

    #[test]
    fn a_variable_that_is_not_text_is_only_a_problem_if_it_is_ours() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(vec![b'x', 0xff]);
        let load = |name: &OsStr| load::<Settings>(None, [(name.to_owned(), odd.clone())], &[]);
        assert!(load(OsStr::new("LS_COLORS")).is_ok());
        assert!(load(&odd).is_ok());
        let problems = load(OsStr::new("SIMPLEKV_STORAGE__FLUSH")).unwrap_err().to_string();
        assert_eq!(problems, "storage.flush (environment variable SIMPLEKV_STORAGE__FLUSH): its value is not UTF-8");
    }

    #[test]
    fn a_missing_or_broken_file_is_an_error() {
        let missing = load::<Settings>(Some(Path::new("/nonexistent.toml")), [], &[]).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent.toml"));
        let broken = file("[storage\n");
        assert!(load::<Settings>(Some(broken.path()), [], &[]).unwrap_err().to_string().contains("line 1"));
    }
}
