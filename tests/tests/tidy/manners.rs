//! Names, leftovers and ignored tests.

use crate::tree::{files, has_extension, read, sources};

#[test]
fn no_type_or_file_is_named_after_nothing() {
    const EMPTY_WORDS: [&str; 5] = ["Manager", "Handler", "Helper", "Util", "Utils"];
    let mut violations = Vec::new();
    for source in sources() {
        for row in source.tokens.windows(2) {
            let [keyword, name] = row else { continue };
            let declares = ["struct", "enum", "trait", "type", "union"].contains(&keyword.text.as_str());
            if declares && EMPTY_WORDS.iter().any(|word| name.text.ends_with(word)) {
                violations.push(format!("{}:{}: {}", source.path, name.line, name.text));
            }
        }
        let file = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if EMPTY_WORDS.iter().any(|word| file.split('_').any(|part| part == word.to_lowercase())) {
            violations.push(source.path.clone());
        }
    }
    crate::assert_none("name the noun, or the verb", &violations);
}

/// G13: no test is switched off in silence.
#[test]
fn an_ignored_test_says_why() {
    let ignored =
        sources().iter().flat_map(|source| source.find("#[ignore]").into_iter().map(move |token| (source, token)));
    let violations: Vec<String> = ignored.map(|(source, token)| format!("{}:{}", source.path, token.line)).collect();
    crate::assert_none("write #[ignore = \"the reason\"]", &violations);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here so that this file does not find itself.
    let marks =
        [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X"), concat!("to", "do!("), concat!("db", "g!(")];
    let mut violations = Vec::new();
    for path in written_files() {
        for (number, line) in (1..).zip(read(path).lines()) {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                violations.push(format!("{path}:{number}: {mark}"));
            }
        }
    }
    crate::assert_none("finish it, or file it where work is tracked", &violations);
}

#[test]
fn nothing_names_one_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tm", "p/")];
    let mut violations = Vec::new();
    for path in written_files() {
        for (number, line) in (1..).zip(read(path).lines()) {
            if let Some(place) = places.iter().find(|place| line.contains(**place)) {
                violations.push(format!("{path}:{number}: {place}"));
            }
        }
    }
    crate::assert_none("paths are relative to the repository, or come from the environment", &violations);
}

/// Files somebody wrote: text, without the licences and the lock file.
fn written_files() -> impl Iterator<Item = &'static String> {
    const SUFFIXES: [&str; 9] = ["rs", "toml", "md", "proto", "txt", "yaml", "py", "sh", "js"];
    let scripts = ["Makefile", ".ci/run", "deploy/run-tests", "deploy/setup-test-machine", "deploy/check-dependencies"];
    files().iter().filter(move |path| {
        SUFFIXES.iter().any(|suffix| has_extension(path, suffix)) || scripts.contains(&path.as_str())
    })
}
