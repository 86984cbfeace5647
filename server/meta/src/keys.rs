//! Every key of the metadata store. No other module writes a key as text.
//!
//! | key | value | written by |
//! |---|---|---|
//! | `<prefix>/cluster` | [`ClusterRecord`](simplekv_types::ClusterRecord) | `init`, once |
//! | `<prefix>/n/<node>` | [`NodeRecord`](simplekv_types::NodeRecord) | the node itself, at each start and when its storage is poisoned |
//! | `<prefix>/live/<node>` | [`LiveRecord`](crate::LiveRecord) | the node itself, in its session |
//! | `<prefix>/g/<group>` | [`GroupRecord`](simplekv_types::GroupRecord) | the group's leader; at elections the controller or suspecting followers; assignments by the admin |
//! | `<prefix>/slots` | [`SlotMap`](simplekv_types::SlotMap) | `init`, the controller, a migration's target at its cutover |
//! | `<prefix>/mig/<migration>` | [`MigrationRecord`](simplekv_types::MigrationRecord) | the controller, source and target of the migration |
//! | `<prefix>/ctl/leader` | [`ControllerRecord`](crate::ControllerRecord) | the controller, in its session |
//! | `<prefix>/ctl/job/<name>` | opaque here | admin and controller |
//!
//! Values are JSON. Numbers in keys are plain decimal (`<prefix>/n/3`): one record has exactly one key.

use std::fmt;

use simplekv_types::{GroupId, MigrationId, NodeId};

/// The prefix of one cluster's keys, and with it the text of each of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keys {
    /// Invariant: begins with `/`, does not end with it, and has no empty part.
    prefix: String,
}

/// A record's place in the metadata store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The cluster's identity.
    Cluster,
    /// A node's registration.
    Node(NodeId),
    /// A node's sign of life.
    Live(NodeId),
    /// A group's record.
    Group(GroupId),
    /// The slot map.
    Slots,
    /// A migration's record.
    Migration(MigrationId),
    /// The controller's office.
    Controller,
    /// An order for the controller, by name: one part of letters, digits, `-`, `_` and `.`.
    Job(String),
}

/// Why a text is not a key of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is not a key of the cluster under `{prefix}`")]
pub struct UnknownKey {
    /// The text.
    pub key: String,
    /// The cluster's prefix.
    pub prefix: String,
}

/// Why a text cannot be the prefix of a cluster's keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a key prefix: it must look like `/skv` or `/team/skv`")]
pub struct InvalidPrefix(pub String);

impl Keys {
    /// The prefix unless configured otherwise.
    pub const DEFAULT_PREFIX: &str = "/skv";

    /// The keys below `prefix`: parts that each begin with `/`.
    ///
    /// # Errors
    /// [`InvalidPrefix`] unless every part consists of at least one letter, digit, `-`, `_` or `.`.
    pub fn new(prefix: &str) -> Result<Self, InvalidPrefix> {
        let valid = prefix.strip_prefix('/').is_some_and(|parts| parts.split('/').all(is_name));
        if valid { Ok(Self { prefix: prefix.to_owned() }) } else { Err(InvalidPrefix(prefix.to_owned())) }
    }

    /// What every key of the cluster begins with, for listing and watching: the prefix and a `/`.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}/", self.prefix)
    }

    /// What the keys of all groups begin with.
    #[must_use]
    pub fn groups(&self) -> String {
        format!("{}/g/", self.prefix)
    }

    /// What the keys of all registrations begin with.
    #[must_use]
    pub fn nodes(&self) -> String {
        format!("{}/n/", self.prefix)
    }

    /// What the keys of all migrations begin with.
    #[must_use]
    pub fn migrations(&self) -> String {
        format!("{}/mig/", self.prefix)
    }

    /// What the keys of all jobs begin with.
    #[must_use]
    pub fn jobs(&self) -> String {
        format!("{}/ctl/job/", self.prefix)
    }

    /// A key's text.
    #[must_use]
    pub fn text(&self, key: &Key) -> String {
        format!("{}/{key}", self.prefix)
    }

    /// The key a text stands for. Accepts exactly what [`Keys::text`] makes.
    ///
    /// # Errors
    /// [`UnknownKey`] for any other text.
    pub fn parse(&self, text: &str) -> Result<Key, UnknownKey> {
        let unknown = || UnknownKey { key: text.to_owned(), prefix: self.prefix.clone() };
        let rest = text.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('/')).ok_or_else(unknown)?;
        parse_rest(rest).ok_or_else(unknown)
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self { prefix: Self::DEFAULT_PREFIX.to_owned() }
    }
}

impl fmt::Display for Key {
    /// The key without its prefix, as in `g/1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Node(node) => write!(f, "n/{}", node.0),
            Self::Live(node) => write!(f, "live/{}", node.0),
            Self::Group(group) => write!(f, "g/{}", group.0),
            Self::Slots => f.write_str("slots"),
            Self::Migration(migration) => write!(f, "mig/{}", migration.0),
            Self::Controller => f.write_str("ctl/leader"),
            Self::Job(name) => write!(f, "ctl/job/{name}"),
        }
    }
}

fn parse_rest(rest: &str) -> Option<Key> {
    match rest {
        "cluster" => return Some(Key::Cluster),
        "slots" => return Some(Key::Slots),
        "ctl/leader" => return Some(Key::Controller),
        _ => (),
    }
    if let Some(name) = rest.strip_prefix("ctl/job/") {
        return is_name(name).then(|| Key::Job(name.to_owned()));
    }
    let (kind, number) = rest.split_once('/')?;
    match kind {
        "n" => Some(Key::Node(NodeId(numbered(number)?))),
        "live" => Some(Key::Live(NodeId(numbered(number)?))),
        "g" => Some(Key::Group(GroupId(numbered(number)?))),
        "mig" => Some(Key::Migration(MigrationId(decimal(number)?))),
        _ => None,
    }
}

/// Nodes and groups are numbered from 1.
fn numbered(text: &str) -> Option<u32> {
    u32::try_from(decimal(text)?).ok().filter(|&number| number > 0)
}

/// Only the one canonical way to write a number: `+1` and `01` would be second keys of the same record.
fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = Key> {
        prop_oneof![
            Just(Key::Cluster),
            Just(Key::Slots),
            Just(Key::Controller),
            (1..=u32::MAX).prop_map(|n| Key::Node(NodeId(n))),
            (1..=u32::MAX).prop_map(|n| Key::Live(NodeId(n))),
            (1..=u32::MAX).prop_map(|n| Key::Group(GroupId(n))),
            any::<u64>().prop_map(|n| Key::Migration(MigrationId(n))),
            "[a-zA-Z0-9._-]{1,20}".prop_map(Key::Job),
        ]
    }

    fn any_keys() -> impl Strategy<Value = Keys> {
        "(/[a-z0-9._-]{1,8}){1,3}".prop_map(|prefix| Keys::new(&prefix).unwrap())
    }

    proptest! {
        #[test]
        fn keys_are_read_as_they_are_written(keys in any_keys(), key in any_key()) {
            prop_assert_eq!(keys.parse(&keys.text(&key)), Ok(key.clone()));
            prop_assert!(keys.text(&key).starts_with(&keys.all()));
        }

        #[test]
        fn a_record_has_one_key(rest in "(n|g|live|mig|ctl|ctl/job|slots|cluster)/?[0-9n+-]{0,4}") {
            let keys = Keys::default();
            let text = format!("/skv/{rest}");
            if let Ok(key) = keys.parse(&text) {
                prop_assert_eq!(keys.text(&key), text);
            }
        }
    }

    #[test]
    fn keys_of_others_are_refused() {
        let keys = Keys::default();
        for text in [
            "",
            "/skv",
            "/skv/",
            "/skvx/slots",
            "/skv/n/0",
            "/skv/n/n1",
            "/skv/n/01",
            "/skv/g/+1",
            "/skv/g/1/x",
            "/skv/x/1",
        ] {
            assert_eq!(keys.parse(text), Err(UnknownKey { key: text.to_owned(), prefix: "/skv".to_owned() }), "{text}");
        }
    }

    #[test]
    fn a_prefix_has_no_empty_part() {
        for prefix in ["", "/", "skv", "/skv/", "//skv", "/s kv"] {
            assert_eq!(Keys::new(prefix), Err(InvalidPrefix(prefix.to_owned())));
        }
        assert_eq!(Keys::new("/a/b").unwrap().text(&Key::Slots), "/a/b/slots");
    }
}
