//! What people read: configuration files and links between documents.

use crate::tree::{files, has_extension, read, root};

/// A key stands under the sentence that explains it. Keys in a row share none.
#[test]
fn every_configuration_key_is_explained() {
    let mut violations = Vec::new();
    for path in files()
        .iter()
        .filter(|path| path.starts_with("conf/") && has_extension(path, "toml") && *path != "conf/Cargo.toml")
    {
        let text = read(path);
        let mut above = "";
        for (number, line) in (1..).zip(text.lines()) {
            let is_prose = above.starts_with("# ") && !above.contains(" = ");
            if is_key(line) && !is_prose {
                violations.push(format!("{path}:{number}: {line}"));
            }
            above = line;
        }
    }
    crate::assert_none("say above each key what it does, its unit, and what goes wrong with other values", &violations);
}

/// `key = value`, also when commented out.
fn is_key(line: &str) -> bool {
    let line = line.strip_prefix('#').unwrap_or(line);
    line.split_once(" = ")
        .is_some_and(|(key, _)| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut violations = Vec::new();
    for path in files().iter().filter(|path| has_extension(path, "md")) {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for (number, line) in (1..).zip(read(path).lines()) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                let is_file = !target.is_empty() && !target.contains("://");
                if is_file && !root().join(dir).join(target).exists() {
                    violations.push(format!("{path}:{number}: {target}"));
                }
            }
        }
    }
    crate::assert_none("links to nothing", &violations);
}
