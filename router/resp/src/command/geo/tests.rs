use super::*;
use crate::command::{Body, Command};
use crate::{Request, table};

fn parse(line: &str) -> Result<Body, simplekv_types::Failure> {
    let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Request::parse(args).map(|request| request.body)
}

fn command(line: &str) -> Command {
    match parse(line) {
        Ok(Body::Data(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_keys_are_found_and_the_way_back_to_words_loses_nothing() {
    for (line, keys, is_write) in [
        ("geoadd k 13.361389 38.115556 a", vec!["k"], true),
        ("geoadd k xx ch -180 85.05112878 a 0.1 -0 b", vec!["k"], true),
        ("geodist k a b", vec!["k"], false),
        ("geodist k a b ft", vec!["k"], false),
        ("geohash k a b", vec!["k"], false),
        ("geopos k", vec!["k"], false),
        ("geosearch k frommember a byradius 1.5 mi", vec!["k"], false),
        ("geosearch k fromlonlat 1 2 bybox 3 4 km asc count 5 any withdist withhash withcoord", vec!["k"], false),
        ("geosearchstore l k fromlonlat 1 2 bybox 3 4 km desc storedist", vec!["l", "k"], true),
        ("georadius k 1 2 3 m withcoord", vec!["k"], false),
        ("georadius k 1 2 3 m store l storedist m count 1", vec!["k", "m"], true),
        ("georadius k 1 2 3 m store store", vec!["k", "store"], true),
        ("georadius_ro k 1 2 3 m asc", vec!["k"], false),
        ("georadiusbymember k store 3 m store l desc", vec!["k", "l"], true),
        ("georadiusbymember_ro k store 3 m", vec!["k"], false),
    ] {
        let parsed = command(line);
        let args: Args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        assert_eq!(table::keys_of(&args).unwrap().collect::<Vec<_>>(), keys, "{line}");
        assert_eq!(parsed.keys().collect::<Vec<_>>(), keys, "{line}");
        assert_eq!(parsed.is_write(), is_write, "{line}");
        let Body::Data(again) = Request::parse(parsed.to_args()).unwrap().body else { panic!("{line}") };
        assert_eq!(again, parsed, "{line}");
    }
}

#[test]
fn the_name_is_repeated_as_it_was_written() {
    let refusal = crate::error_text(&parse("GeoSearch k asc asc asc asc asc").unwrap_err()).into_owned();
    assert_eq!(refusal, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GeoSearch");
}
