//! The rows of the commands on places.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::command::geo as parse;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const WRITE_MOVABLE: Flags = WRITE.and(Flags::MOVABLE_KEYS);
const GEO: Group = Group::Geo;
const OPTIONS: &[(&str, usize)] = &[("COUNT", 1), ("STORE", 1), ("STOREDIST", 1)];

const OF_EACH: &str = "O(1) for each member";
const SEARCH: &str = "O(N + log M) in the number of members around the area and of all members";
const AROUND: &str = "key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width \
                      height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]";
const STORED: &str = "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | \
                      MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]";
const RADIUS: &str = "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
                      [ASC | DESC] [STORE destination | STOREDIST destination]";
const RADIUS_RO: &str = "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count \
                         [ANY]] [ASC | DESC]";
const MEMBER_RADIUS: &str = "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC \
                             | DESC] [STORE destination | STOREDIST destination]";
const MEMBER_RADIUS_RO: &str =
    "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]";

pub(super) const SPECS: &[Spec] = &[
    Spec::new("geoadd", -5, WRITE, Keys::ONE, parse::geoadd)
        .doc(
            GEO,
            "3.2.0",
            "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
            "Puts members in their places.",
        )
        .complexity("O(log N) for each member"),
    Spec::new("geodist", -4, READ, Keys::ONE, parse::geodist)
        .doc(GEO, "3.2.0", "key member1 member2 [M | KM | FT | MI]", "Answers how far two members are from each other.")
        .complexity("O(1)"),
    Spec::new("geohash", -2, READ, Keys::ONE, parse::geohash)
        .doc(GEO, "3.2.0", "key [member [member ...]]", "Answers where members are, as geohash strings.")
        .complexity(OF_EACH),
    Spec::new("geopos", -2, READ, Keys::ONE, parse::geopos)
        .doc(GEO, "3.2.0", "key [member [member ...]]", "Answers where members are, in degrees.")
        .complexity(OF_EACH),
    Spec::new("geosearch", -7, READ, Keys::ONE, parse::geosearch)
        .doc(GEO, "6.2.0", AROUND, "Answers the members within a circle or a box.")
        .complexity(SEARCH),
    Spec::new("geosearchstore", -8, WRITE, Keys::TWO, parse::geosearchstore)
        .doc(GEO, "6.2.0", STORED, "Stores the members within a circle or a box and answers how many there are.")
        .complexity(SEARCH),
    Spec::new("georadius", -6, WRITE_MOVABLE, Keys::ONE.and_stored(6, OPTIONS), parse::georadius)
        .doc(GEO, "3.2.0", RADIUS, "Answers or stores the members around a place. GEOSEARCH is the newer form.")
        .complexity(SEARCH),
    Spec::new("georadius_ro", -6, READ, Keys::ONE, parse::georadius_ro)
        .doc(GEO, "3.2.10", RADIUS_RO, "Answers the members around a place. GEOSEARCH is the newer form.")
        .complexity(SEARCH),
    Spec::new("georadiusbymember", -5, WRITE_MOVABLE, Keys::ONE.and_stored(5, OPTIONS), parse::georadiusbymember)
        .doc(GEO, "3.2.0", MEMBER_RADIUS, "Answers or stores the members around one. GEOSEARCH is the newer form.")
        .complexity(SEARCH),
    Spec::new("georadiusbymember_ro", -5, READ, Keys::ONE, parse::georadiusbymember_ro)
        .doc(GEO, "3.2.10", MEMBER_RADIUS_RO, "Answers the members around one. GEOSEARCH is the newer form.")
        .complexity(SEARCH),
];
