use super::*;
use crate::Request;

fn parse(line: &str) -> Parsed {
    let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Request::parse(args).map(|request| request.body)
}

fn command(line: &str) -> Command {
    match parse(line) {
        Ok(Body::Data(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    crate::error_text(&parse(line).expect_err(line)).into_owned()
}

#[test]
fn the_keys_are_found_and_the_way_back_to_words_loses_nothing() {
    for (line, keys, is_write) in [
        ("sort k", vec!["k"], false),
        ("sort_ro k by nosort limit 1 -1 get # get x alpha desc", vec!["k"], false),
        ("sort {t}k by {t}w_*->f get {t}* get {t}*->", vec!["{t}k"], false),
        ("sort k store l limit 0 5", vec!["k", "l"], true),
        ("sort k store l store m", vec!["k", "m"], true),
        ("sort k by store store store get store", vec!["k", "store"], true),
    ] {
        let parsed = command(line);
        let args: Args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        assert_eq!(crate::table::keys_of(&args).unwrap().collect::<Vec<_>>(), keys, "{line}");
        assert_eq!(parsed.keys().collect::<Vec<_>>(), keys, "{line}");
        assert_eq!(parsed.is_write(), is_write, "{line}");
        let Body::Data(again) = Request::parse(parsed.to_args()).unwrap().body else { panic!("{line}") };
        assert_eq!(again, parsed, "{line}");
    }
}

#[test]
fn what_is_looked_up_is_certainly_in_the_slot_of_the_key() {
    for pattern in ["{t}*", "w{t}_*->f", "{t}{x}*", "}{t}*", "{t}"] {
        command(&format!("sort {{t}}k by {pattern} get {pattern}"));
    }
    for pattern in ["*", "w_*", "*{t}", "{*t}", "{t*}", "{}{t}*", "{x}*", "{t*", "{x}{t}*"] {
        let by = refusal(&format!("sort {{t}}k by {pattern} foo"));
        assert_eq!(by, "ERR BY option of SORT denied in cluster mode.", "{pattern}");
        let get = refusal(&format!("sort {{t}}k get # get {pattern}"));
        assert_eq!(get, "ERR GET option of SORT denied in cluster mode.", "{pattern}");
    }
    // The same word as the tag is the same slot, and an arrow in front of the star is none.
    command("sort t by {t}->*");
}
