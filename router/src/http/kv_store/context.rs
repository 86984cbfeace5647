//! `causal-context`: a session token as a JSON object of numbers.
//!
//! The original's contexts are vector clocks, a number for each node, and its clients are told to hand them on as they are. Those in
//! typed languages read them as a map from text to unsigned numbers, so ours is one, too: for each group `g1` is the place in its log,
//! and `g1.epoch`, `g1.lineage` and `g1.slots` are what a token says besides. Of zeros only that of the place is told.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use simplekv_client::{GroupId, Position, SessionToken};
use simplekv_types::{Epoch, Lineage, Lsn, SlotMapVersion};

/// The token as a context.
pub(super) fn show(token: &SessionToken) -> Map<String, Value> {
    let mut context = Map::new();
    for Position { group, slots, lineage, epoch, end } in token.positions() {
        context.insert(group.to_string(), end.0.into());
        for (name, number) in [("epoch", epoch.0), ("lineage", lineage.0), ("slots", slots.0)] {
            if number > 0 {
                context.insert(format!("{group}.{name}"), number.into());
            }
        }
    }
    context
}

/// The token of a context, which may also be given as a token's text. Numbers of what is no group say nothing here, as those of other
/// shards' nodes do in the original. `None` if it is no context at all.
pub(super) fn read(context: &Value) -> Option<SessionToken> {
    match context {
        Value::Null => Some(SessionToken::new()),
        Value::String(text) => text.parse().ok(),
        Value::Object(numbers) => {
            let mut positions: BTreeMap<GroupId, Position> = BTreeMap::new();
            for (name, number) in numbers {
                enter(&mut positions, name, number.as_u64()?);
            }
            let mut token = SessionToken::new();
            positions.into_values().for_each(|position| token.observe(position));
            Some(token)
        }
        _ => None,
    }
}

/// What a header or a query brings: JSON, or a token's text.
pub(super) fn read_text(text: &str) -> Option<SessionToken> {
    match text.trim() {
        "" => Some(SessionToken::new()),
        text => text.parse().ok().or_else(|| read(&serde_json::from_str(text).ok()?)),
    }
}

fn enter(positions: &mut BTreeMap<GroupId, Position>, name: &str, number: u64) {
    let (group, field) = name.split_once('.').unwrap_or((name, ""));
    let Some(group) = group.parse::<GroupId>().ok().filter(|known| known.to_string() == group) else { return };
    let position = positions.entry(group).or_insert(Position::start(group));
    match field {
        "" => position.end = Lsn(number),
        "epoch" => position.epoch = Epoch(number),
        "lineage" => position.lineage = Lineage(number),
        "slots" => position.slots = SlotMapVersion(number),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_context_is_read_as_it_is_told() {
        for token in ["s1", "s1-g1.5.0.3.1042-g2.5.1.1.77", "s1-g7.0.0.1.0"] {
            let token: SessionToken = token.parse().unwrap();
            assert_eq!(read(&Value::Object(show(&token))), Some(token));
        }
        let token = "s1-g1.5.0.3.1042".parse().unwrap();
        assert_eq!(Value::Object(show(&token)), json!({"g1": 1042, "g1.epoch": 3, "g1.slots": 5}));
    }

    #[test]
    fn it_may_come_in_other_dresses() {
        let token: SessionToken = "s1-g1.0.0.3.9".parse().unwrap();
        for text in ["s1-g1.0.0.3.9", r#"{"g1":9,"g1.epoch":3}"#, r#" {"g1.epoch":3,"g1":9,"10.0.0.2:13800":4,"7":7} "#]
        {
            assert_eq!(read_text(text), Some(token.clone()), "{text}");
        }
        assert_eq!(read_text(r#""s1-g1.0.0.3.9""#), Some(token));
        assert_eq!((read_text(""), read_text("null")), (Some(SessionToken::new()), Some(SessionToken::new())));
    }

    #[test]
    fn what_is_no_context_is_refused() {
        for text in
            ["{", "[]", "1", "s2", r#"{"g1":-1}"#, r#"{"g1":"9"}"#, r#"{"g1":1.5}"#, r#"{"g1":18446744073709551616}"#]
        {
            assert_eq!(read_text(text), None, "{text}");
        }
    }
}
