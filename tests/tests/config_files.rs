//! The documented configuration files are the defaults, complete and nothing else.

use std::path::Path;
use std::process::Command;

use simplekv_tests::program;

#[track_caller]
fn documents_the_defaults(program_name: &str, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf").join(file);
    let documented: toml::Table =
        std::fs::read_to_string(path).expect("the file is there").parse().expect("it is TOML");
    let mut command = Command::new(program(program_name).expect("it was built"));
    // The environment is a source of values as well.
    let output = command.arg("--print-config").env_clear().output().expect("it can be started");
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    let defaults: toml::Table = printed.parse().expect("it prints TOML");
    assert_eq!(documented, defaults);
}

#[test]
fn simplekv_toml_is_the_default_configuration_of_a_node() {
    documents_the_defaults("simplekv-server", "simplekv.toml");
}

#[test]
fn router_toml_is_the_default_configuration_of_a_router() {
    documents_the_defaults("simplekv-router", "router.toml");
}
