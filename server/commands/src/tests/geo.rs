//! Places.

use super::*;

fn text(reply: &Reply) -> String {
    let Reply::Bulk(text) = reply else { panic!("{reply:?}") };
    String::from_utf8_lossy(text).into_owned()
}

fn found(reply: &Reply) -> Vec<String> {
    let Reply::Array(found) = reply else { panic!("{reply:?}") };
    found.iter().map(text).collect()
}

/// What a score means, whoever gave it: the middle of a cell, on the map in any case.
#[test]
fn any_score_is_a_place() {
    let mut shell = Shell::new();
    for score in ["0", "-1", "0.5", "3479099956230698", "1e18", "1e19", "1e300", "-1e300", "inf", "-inf"] {
        shell.run(&format!("zadd z {score} m"));
        let Reply::Array(places) = shell.run("geopos z m") else { panic!("{score}") };
        let [Reply::Array(degrees)] = places.as_slice() else { panic!("{score}: {places:?}") };
        let [Reply::Decimal(longitude), Reply::Decimal(latitude)] = degrees.as_slice() else { panic!("{degrees:?}") };
        assert!(longitude.abs() <= 180.0 && latitude.abs() <= 85.051_128_78, "{score}: {longitude} {latitude}");
        assert_eq!(shell.run("geodist z m m"), bulk("0.0000"), "{score}");
    }
}

#[test]
fn nobody_is_left_out_at_the_edges_of_the_map() {
    let mut shell = Shell::new();
    shell.run("geoadd k 179.9 0 east -179.9 0 west 0 85 north");
    assert_eq!(found(&shell.run("geosearch k frommember east byradius 30 km asc")), ["east", "west"]);
    assert_eq!(found(&shell.run("geosearch k fromlonlat 90 85 byradius 1000 km")), ["north"]);
    assert_eq!(found(&shell.run("geosearch k fromlonlat 0 0 byradius inf m")), ["north", "east", "west"]);
    // On the edge itself is no cell, so only who searches from there finds what is there: that is how Redis does it.
    shell.run("geoadd k 180 -80 edge");
    assert_eq!(found(&shell.run("geosearch k fromlonlat 180 -80 bybox 10 10 km")), ["edge"]);
    assert_eq!(found(&shell.run("geosearch k fromlonlat -180 -80 bybox 10 10 km")), [""; 0]);
    assert_eq!(found(&shell.run("geosearch k fromlonlat 0 0 byradius inf m")).len(), 3);
}

#[test]
fn found_members_may_take_the_place_of_all() {
    let mut shell = Shell::new();
    shell.run("geoadd k 13.361389 38.115556 a 15.087269 37.502669 b 1 1 c");
    shell.run("expire k 100");
    assert_eq!(shell.effect("georadius k 15 37 200 km store k"), (Reply::Int(2), true));
    assert_eq!(found(&shell.run("zrange k 0 -1")), ["a", "b"]);
    assert_eq!(shell.run("ttl k"), Reply::Int(-1));
    assert_eq!(shell.error("georadiusbymember k c 1 m store k"), "ERR could not decode requested zset member");
    // Nothing is stored as nothing.
    assert_eq!(shell.effect("geosearchstore k k fromlonlat 0 0 byradius 1 m"), (Reply::Int(0), true));
    assert_eq!(shell.effect("georadiusbymember k c 1 m store k"), (Reply::Int(0), false));
}

#[test]
fn members_stay_where_they_are_unless_they_are_to_move() {
    let mut shell = Shell::new();
    for (line, reply, changes) in [
        ("geoadd k 1 1 a", 1, true),
        ("geoadd k 1 1 a", 0, false),
        ("geoadd k nx 2 2 a", 0, false),
        ("geoadd k xx ch 2 2 a 3 3 b", 1, true),
        ("geoadd k 3 3 a", 0, true),
    ] {
        assert_eq!(shell.effect(line), (Reply::Int(reply), changes), "{line}");
    }
}
