//! Which crate may depend on which. The picture stands in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{files, read};

/// A crate, by its directory.
struct Layer {
    dir: &'static str,
    /// Crates of ours it may name, without the `simplekv-`.
    may_use: &'static [&'static str],
    /// Crates of others it must not name, because they would bring in what the layer does not know.
    never: &'static [&'static str],
}

const NO_RUNTIME: [&str; 9] =
    ["tokio", "tokio-stream", "tokio-util", "futures", "tonic", "prost", "etcd-client", "axum", "anyhow"];
/// The core neither waits nor draws lots: time, randomness and shared state come from outside.
const NO_SURROUNDINGS: [&str; 13] = [
    "tokio",
    "tokio-stream",
    "tokio-util",
    "futures",
    "tonic",
    "prost",
    "etcd-client",
    "axum",
    "anyhow",
    "rand",
    "parking_lot",
    "dashmap",
    "arc-swap",
];

const LAYERS: [Layer; 16] = [
    Layer { dir: "conf", may_use: &["types"], never: &NO_RUNTIME },
    Layer { dir: "proto/types", may_use: &[], never: &NO_SURROUNDINGS },
    Layer { dir: "proto", may_use: &["types"], never: &["tokio", "etcd-client", "axum", "anyhow"] },
    Layer { dir: "server/collections", may_use: &["types"], never: &NO_SURROUNDINGS },
    Layer { dir: "server/engine", may_use: &["collections", "types"], never: &NO_RUNTIME },
    Layer { dir: "server/cluster", may_use: &["types"], never: &NO_SURROUNDINGS },
    Layer { dir: "server/commands", may_use: &["collections", "resp", "types"], never: &NO_SURROUNDINGS },
    Layer { dir: "server/meta", may_use: &["types"], never: &["axum", "anyhow"] },
    Layer {
        dir: "server",
        may_use: &["cluster", "collections", "commands", "conf", "engine", "meta", "proto", "resp", "types"],
        never: &["etcd-client"],
    },
    Layer { dir: "server/admin", may_use: &["meta", "proto", "types"], never: &["etcd-client"] },
    Layer { dir: "client", may_use: &["proto", "types"], never: &["etcd-client", "axum", "anyhow"] },
    Layer { dir: "client/cli", may_use: &["client", "resp", "types"], never: &["etcd-client", "tonic", "prost"] },
    Layer {
        dir: "client/testing",
        may_use: &["client", "commands", "local", "proto", "resp", "types"],
        never: &["etcd-client", "axum", "anyhow"],
    },
    Layer { dir: "router/resp", may_use: &["types"], never: &NO_RUNTIME },
    Layer { dir: "router", may_use: &["client", "conf", "proto", "resp", "types"], never: &["etcd-client"] },
    Layer {
        dir: "deploy/local",
        may_use: &["conf", "meta", "router", "server", "types"],
        never: &["etcd-client", "tonic", "prost"],
    },
];

/// Whole-system tests, load generator and simulator look at everything.
const SEES_EVERYTHING: &str = "tests";

#[test]
fn dependencies_follow_the_arrows() {
    let mut violations = Vec::new();
    for dir in packages().filter(|dir| !is_exempt(dir)) {
        let Some(layer) = LAYERS.iter().find(|layer| layer.dir == dir) else {
            violations.push(format!("{dir}: a new crate needs a row in this test and a place in ARCHITECTURE.md"));
            continue;
        };
        let manifest = manifest(&dir);
        // Not those of tests, which may look at anything.
        for name in dependencies(&manifest, &["dependencies", "build-dependencies"]) {
            let other = name.strip_prefix("simplekv-");
            if other.is_some_and(|other| !layer.may_use.contains(&other)) {
                violations.push(format!("{dir}: must not depend on {name}; allowed are {:?}", layer.may_use));
            }
        }
        for name in dependencies(&manifest, &["dependencies"]) {
            if layer.never.contains(&name.as_str()) {
                violations.push(format!("{dir}: must not depend on {name}, which this layer does not know"));
            }
        }
    }
    crate::assert_none("forbidden arrows", &violations);
}

#[test]
fn the_allowed_arrows_have_no_cycle() {
    let allowed: BTreeMap<String, &[&str]> =
        LAYERS.iter().map(|layer| (crate_name(layer.dir), layer.may_use)).collect();
    let mut settled = BTreeSet::new();
    while settled.len() < allowed.len() {
        let next = allowed
            .iter()
            .find(|(name, uses)| !settled.contains(*name) && uses.iter().all(|used| settled.contains(*used)))
            .unwrap_or_else(|| panic!("a cycle among the crates other than {settled:?}"));
        settled.insert(next.0.clone());
    }
}

#[test]
fn every_crate_keeps_the_house_lints_and_is_never_published() {
    let mut violations = Vec::new();
    for dir in packages() {
        let manifest = manifest(&dir);
        let inherited = |table: &str, key: &str| manifest.get(table).and_then(|t| t.get(key)).is_some();
        if !inherited("lints", "workspace") {
            violations.push(format!("{dir}/Cargo.toml: `[lints] workspace = true` is missing"));
        }
        if !inherited("package", "publish") {
            violations.push(format!("{dir}/Cargo.toml: `publish.workspace = true` is missing"));
        }
        for (name, version) in literal_versions(&manifest) {
            if workspace_dependencies().contains(&name) {
                violations.push(format!("{dir}/Cargo.toml: {name} {version} is listed in the root, inherit it"));
            }
        }
    }
    crate::assert_none("manifests", &violations);
}

/// Clippy reads the nearest configuration only: whoever has its own must repeat the root's rules, except those about crates that it
/// does not use.
#[test]
fn a_stricter_lint_configuration_repeats_the_common_one() {
    let common: toml::Table = read("clippy.toml").parse().unwrap();
    let mut violations = Vec::new();
    for path in files().iter().filter(|path| path.ends_with("/clippy.toml")) {
        let own: toml::Table = read(path).parse().unwrap();
        let used =
            dependencies(&manifest(path.trim_end_matches("/clippy.toml")), &["dependencies", "dev-dependencies"]);
        let concerns = |rule: &toml::Value| {
            path_of(rule)
                .and_then(|path| path.split("::").next())
                .is_some_and(|name| name == "std" || used.iter().any(|used| used == name))
        };
        for (key, value) in &common {
            let repeated = match (value.as_array(), own.get(key).and_then(toml::Value::as_array)) {
                (Some(rules), own) => {
                    let own = own.map(Vec::as_slice).unwrap_or_default();
                    rules
                        .iter()
                        .filter(|rule| concerns(rule))
                        .all(|rule| own.iter().any(|own| path_of(own) == path_of(rule)))
                }
                _ => own.get(key) == Some(value),
            };
            if !repeated {
                violations.push(format!("{path}: `{key}` leaves out what the root's clippy.toml says"));
            }
        }
    }
    crate::assert_none("clippy reads only the nearest configuration", &violations);
}

fn path_of(rule: &toml::Value) -> Option<&str> {
    rule.get("path").and_then(toml::Value::as_str)
}

fn is_exempt(dir: &str) -> bool {
    dir == SEES_EVERYTHING || dir.starts_with("tests/")
}

/// Directories of the workspace's packages.
fn packages() -> impl Iterator<Item = String> {
    files().iter().filter_map(|path| path.strip_suffix("/Cargo.toml")).map(str::to_owned)
}

fn manifest(dir: &str) -> toml::Table {
    read(&format!("{dir}/Cargo.toml")).parse().unwrap_or_else(|error| panic!("{dir}/Cargo.toml: {error}"))
}

fn workspace_dependencies() -> BTreeSet<String> {
    let root: toml::Table = read("Cargo.toml").parse().unwrap();
    root["workspace"]["dependencies"].as_table().unwrap().keys().cloned().collect()
}

fn dependencies(manifest: &toml::Table, tables: &[&str]) -> Vec<String> {
    let tables = tables.iter().filter_map(|table| manifest.get(*table)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

/// Dependencies whose version stands in the package itself.
fn literal_versions(manifest: &toml::Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for table in ["dependencies", "build-dependencies", "dev-dependencies"] {
        for (name, value) in manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
            let version = value.as_str().or_else(|| value.get("version")?.as_str());
            found.extend(version.map(|version| (name.clone(), version.to_owned())));
        }
    }
    found
}

fn crate_name(dir: &str) -> String {
    dir.rsplit('/').next().unwrap_or(dir).to_owned()
}
