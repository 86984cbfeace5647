use super::*;

fn args(line: &str) -> Args {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn refusal(line: &str) -> String {
    crate::error_text(&resolve(&args(line)).unwrap_err()).into_owned()
}

fn rows() -> impl Iterator<Item = &'static Spec> {
    TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
}

#[test]
fn every_command_is_found_in_any_case() {
    for spec in &TABLE {
        assert_eq!(find(spec.name.as_bytes()).unwrap().name, spec.name);
        assert_eq!(find(spec.name.to_uppercase().as_bytes()).unwrap().name, spec.name);
        assert!(find(format!("{}?", spec.name).as_bytes()).is_none());
        for sub in spec.subcommands {
            assert_eq!(find_full(sub.name.as_bytes()).unwrap().name, sub.name);
        }
    }
    assert!(find(b"").is_none());
    assert!(find(&[b'g'; 1000]).is_none());
}

#[test]
fn no_name_stands_in_the_table_twice() {
    let mut names: Vec<_> = rows().map(|spec| spec.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_row_is_documented() {
    for spec in rows() {
        assert!(spec.summary.ends_with('.'), "{}", spec.name);
        assert!(!spec.complexity.is_empty() && !spec.since.is_empty(), "{}", spec.name);
        assert_eq!(spec.name, spec.name.to_lowercase());
        assert!(spec.is_write() || !spec.flags.contains(Flags::DENYOOM), "{}", spec.name);
        assert!(!spec.is_write() || !spec.flags.contains(Flags::READONLY), "{}", spec.name);
    }
}

#[test]
fn a_request_is_resolved_to_its_row() {
    for (line, name) in
        [("get k", "get"), ("GET k", "get"), ("client setname x", "client|setname"), ("COMMAND", "command")]
    {
        assert_eq!(resolve(&args(line)).unwrap().name, name);
    }
}

#[test]
fn refusals_are_worded_as_redis_words_them() {
    for (line, text) in [
        ("get", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ("client", "ERR wrong number of arguments for 'client' command"),
        ("client setname", "ERR wrong number of arguments for 'client|setname' command"),
        ("client Foo bar", "ERR unknown subcommand 'Foo'. Try CLIENT HELP."),
        ("foo", "ERR unknown command 'foo', with args beginning with: "),
        ("FOO a b", "ERR unknown command 'FOO', with args beginning with: 'a' 'b' "),
    ] {
        assert_eq!(refusal(line), text);
    }
    let long = "x".repeat(200);
    let text = refusal(&format!("foo {long} b"));
    assert_eq!(text, format!("ERR unknown command 'foo', with args beginning with: '{}' ", "x".repeat(128)));
}

#[test]
fn keys_are_found_without_understanding_the_request() {
    for (line, keys) in [
        ("get k", vec!["k"]),
        ("mget a b c", vec!["a", "b", "c"]),
        ("mset a 1 b 2", vec!["a", "b"]),
        ("rename a b", vec!["a", "b"]),
        ("set k v ex 5", vec!["k"]),
        ("object encoding k", vec!["k"]),
        ("sintercard 2 a b limit 1", vec!["a", "b"]),
        ("ping", vec![]),
        ("scan 0", vec![]),
    ] {
        let request = args(line);
        assert_eq!(keys_of(&request).unwrap().collect::<Vec<_>>(), keys, "{line}");
    }
}
