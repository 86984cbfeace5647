//! Histories written, read back, and refused.

use simplekv_history::{Action, Answer, Operation, Policy, ReadError, Writer, read};

fn refusal(text: &str) -> String {
    read(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_back() {
    let text = |text: &str| text.into();
    let history = vec![
        Operation::new(1, "k", Action::Get, 1).answered(Answer::Value(None), 2),
        Operation::new(1, "a \"key\" with\nlines", Action::Get, 3).answered(Answer::Value(Some(text("ü"))), 4),
        Operation::new(2, "k", Action::Set(text("v")), 1).answered(Answer::Done, 2),
        Operation::new(2, "k", Action::SetIfAbsent(text("v")), 3).answered(Answer::Number(0), 4),
        Operation::new(2, "k", Action::SetIfPresent(text("v")), 5).failed(6),
        Operation::new(3, "k", Action::GetSet(text("v")), 7).unknown(8),
        Operation::new(4, "k", Action::CompareAndSet { expected: text("v"), value: text("w") }, 9),
        Operation::new(5, "k", Action::Delete, 9).answered(Answer::Number(1), u64::MAX - 1),
        Operation::new(5, "k", Action::DeleteIf(text("v")), 9).answered(Answer::Number(1), 10),
        Operation::new(5, "k", Action::GetDelete, 9).answered(Answer::Value(None), 10).session(7),
        Operation::new(6, "n", Action::Increment(-5), 9).answered(Answer::Number(-5), 10),
        Operation::new(7, "k", Action::Get, 9).policy(Policy::Session).unknown(11).session(3),
        Operation::new(7, "k", Action::Get, 9).policy(Policy::Bounded(500)).failed(11),
        Operation::new(7, "k", Action::Get, 9).policy(Policy::Any).failed(11),
    ];
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, "everything that can be said").unwrap();
    history.iter().for_each(|operation| writer.append(operation).unwrap());
    assert_eq!(read(&*file).unwrap(), history);
}

#[test]
fn a_head_and_empty_lines_are_no_operations() {
    let history = "{\"history\":1,\"about\":\"nothing\",\"more\":[]}\n\n";
    assert_eq!(read(history.as_bytes()).unwrap(), []);
    assert!(matches!(read("{\"history\":2}".as_bytes()), Err(ReadError::Version(2))));
}

#[test]
fn a_malformed_line_is_named_with_its_number_and_its_mistake() {
    let good = r#"{"client":1,"key":"k","op":"get","status":"ok","result":null,"start":1,"end":2}"#;
    assert!(refusal(&format!("{good}\n{good}\nnonsense")).starts_with("line 3: column 2: expected"));
    for (line, mistake) in [
        (&*good.replace("\"result\":null,", ""), "line 1: `get` needs a text or null as `result`"),
        (&good.replace("null", "5"), "`get` needs a text or null as `result`"),
        (&good.replace("\"end\":2", "\"end\":0"), "ends at 0, before its start at 1"),
        (&good.replace(",\"end\":2", ""), "`get` needs an `end`, since its outcome is known"),
        (&good.replace("\"ok\"", "\"fail\""), "has a `result` although its status is not `ok`"),
        (&good.replace("\"get\"", "\"put\""), "unknown variant `put`"),
        (&good.replace("\"end\"", "\"until\""), "unknown field `until`"),
        (&good.replace("\"get\"", "\"set\""), "`set` needs a text as `arg`"),
        (&good.replace("\"get\"", "\"del\""), "`del` needs 0 or 1 as `result`"),
        (&good.replace("\"get\"", "\"incr\""), "`incr` needs a whole number as `result`"),
        (&good.replace("\"get\"", "\"get\",\"arg\":\"v\""), "`get` takes no `arg`"),
        (&good.replace("\"get\"", "\"get\",\"policy\":\"bounded\""), "is bounded and needs a `bound`"),
        (&good.replace("\"client\":1", "\"client\":-1"), "invalid value"),
        (good.get(..40).unwrap(), "EOF while parsing"),
    ] {
        let refusal = refusal(line);
        assert!(refusal.contains(mistake), "{line}: {refusal}");
    }
    let policy = r#"{"client":1,"key":"k","op":"incr","status":"unknown","start":1,"policy":"any"}"#;
    assert!(refusal(policy).contains("`incr` is always linearizable"), "{}", refusal(policy));
}
