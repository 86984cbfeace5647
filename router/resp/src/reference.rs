//! What COMMAND answers about the table.

use bytes::Bytes;
use simplekv_types::{Failure, Reply};

use crate::control::{CommandQuery, ListFilter};
use crate::glob;
use crate::parser::Args;
use crate::syntax::{self, Argument, ArgumentKind};
use crate::table::{self, Flags, Group, KeyPositions, Spec, TABLE};

/// Answers COMMAND and its subcommands.
#[must_use]
pub(crate) fn answer(query: &CommandQuery) -> Reply {
    match query {
        CommandQuery::All => Reply::Array(TABLE.iter().map(info).collect()),
        CommandQuery::Count => Reply::Int(i64::try_from(TABLE.len()).unwrap_or(i64::MAX)),
        CommandQuery::Info { names } if names.is_empty() => Reply::Array(TABLE.iter().map(info).collect()),
        CommandQuery::Info { names } => {
            Reply::Array(names.iter().map(|name| table::find_full(name).map_or(Reply::NullArray, info)).collect())
        }
        CommandQuery::Docs { names } if names.is_empty() => Reply::Map(TABLE.iter().map(docs).collect()),
        CommandQuery::Docs { names } => {
            Reply::Map(names.iter().filter_map(|name| table::find_full(name)).map(docs).collect())
        }
        CommandQuery::List { filter } => {
            let names = TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
            Reply::Array(names.filter(|spec| is_listed(spec, filter)).map(|spec| Reply::fixed(spec.name)).collect())
        }
        CommandQuery::GetKeys { args } => get_keys(args).unwrap_or_else(Reply::Error),
    }
}

/// Answers `… HELP` of a command with subcommands.
#[must_use]
pub(crate) fn help(command: &str) -> Reply {
    let Some(spec) = table::find(command.as_bytes()) else { return Reply::Array(Vec::new()) };
    let name = spec.name.to_ascii_uppercase();
    let title = format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let lines = spec.subcommands.iter().flat_map(|sub| {
        let usage = format!("{} {}", sub.own_name().to_ascii_uppercase(), sub.syntax);
        [usage.trim_end().to_owned(), format!("    {}", sub.summary)]
    });
    Reply::Array(std::iter::once(title).chain(lines).map(Reply::text).collect())
}

fn is_listed(spec: &Spec, filter: &ListFilter) -> bool {
    match filter {
        ListFilter::None => !spec.is_subcommand,
        ListFilter::Module => false,
        ListFilter::Category(category) => {
            categories(spec).iter().any(|name| name.trim_start_matches('@').as_bytes().eq_ignore_ascii_case(category))
        }
        ListFilter::Pattern(pattern) => glob::matches_ignoring_case(pattern, spec.name.as_bytes()),
    }
}

fn get_keys(args: &Args) -> Result<Reply, Failure> {
    let spec = table::row(args).map_err(|_| Failure::command("ERR Invalid command specified"))?;
    if spec.keys == KeyPositions::NONE {
        return Err(Failure::command("ERR The command has no key arguments"));
    }
    if !spec.takes(args.len()) {
        return Err(Failure::command("ERR Invalid number of arguments specified for command"));
    }
    let keys = spec.key_positions(args).filter_map(|at| args.get(at));
    Ok(Reply::Array(keys.cloned().map(Reply::Bulk).collect()))
}

fn statuses(names: impl IntoIterator<Item = &'static str>) -> Reply {
    Reply::Set(names.into_iter().map(Reply::Status).collect())
}

fn int(number: impl Into<i64>) -> Reply {
    Reply::Int(number.into())
}

/// One element of COMMAND INFO.
fn info(spec: &'static Spec) -> Reply {
    let KeyPositions { first, last, step, .. } = spec.keys;
    let tips = spec.tips.iter().copied().map(Reply::fixed).collect();
    Reply::Array(vec![
        Reply::fixed(spec.name),
        int(spec.arity),
        statuses(spec.flags.names()),
        int(first),
        int(last),
        int(step),
        statuses(categories(spec)),
        Reply::Array(tips),
        Reply::Array(key_specs(spec)),
        Reply::Array(spec.subcommands.iter().map(info).collect()),
    ])
}

/// The access control categories a command belongs to: nearly always what its flags and its group say.
fn categories(spec: &Spec) -> Vec<&'static str> {
    let has = |flag: Flags| spec.flags.contains(flag);
    let command = spec.name.split('|').next().unwrap_or_default();
    let is_about_data = has(Flags::WRITE) || has(Flags::READONLY);
    let is_about_keys = matches!(spec.group, Group::Generic | Group::Connection | Group::Server | Group::Cluster);
    let is_about_connection = spec.group == Group::Connection && spec.subcommands.is_empty()
        || matches!(command, "command" | "wait" | "readonly" | "readwrite" | "asking");
    let is_sort = matches!(command, "sort" | "sort_ro");
    let is_admin = has(Flags::ADMIN) || matches!(command, "role" | "lastsave");
    [
        (has(Flags::WRITE), "@write"),
        (has(Flags::READONLY), "@read"),
        (spec.group == Group::String, "@string"),
        (spec.group == Group::Bitmap, "@bitmap"),
        (spec.group == Group::Hash, "@hash"),
        (spec.group == Group::List || is_sort, "@list"),
        (spec.group == Group::Set || is_sort, "@set"),
        (spec.group == Group::SortedSet || is_sort, "@sortedset"),
        (spec.group == Group::Geo, "@geo"),
        (spec.group == Group::HyperLogLog, "@hyperloglog"),
        (is_about_data && is_about_keys && command != "memory" && !is_sort || spec.name == "object|help", "@keyspace"),
        (has(Flags::BLOCKING), "@blocking"),
        (spec.group == Group::Transactions, "@transaction"),
        (has(Flags::PUBSUB), "@pubsub"),
        (spec.group == Group::Scripting && spec.name != "script", "@scripting"),
        (is_about_connection, "@connection"),
        (is_admin, "@admin"),
        (has(Flags::FAST), "@fast"),
        (!has(Flags::FAST), "@slow"),
        (is_admin || is_sort || matches!(command, "keys" | "flushall" | "flushdb" | "info"), "@dangerous"),
    ]
    .into_iter()
    .filter(|(belongs, _)| *belongs)
    .map(|(_, name)| name)
    .collect()
}

fn pairs(pairs: Vec<(&'static str, Reply)>) -> Reply {
    Reply::Map(pairs.into_iter().map(|(name, value)| (Reply::fixed(name), value)).collect())
}

/// Where the keys are, in the words newer clients look for.
fn key_specs(spec: &Spec) -> Vec<Reply> {
    let KeyPositions { first, last, step, counted, options } = spec.keys;
    let flags: &[&'static str] = if spec.is_write() { &["RW", "access", "update"] } else { &["RO", "access"] };
    let at = |index: i8| pairs(vec![("type", Reply::fixed("index")), ("spec", pairs(vec![("index", int(index))]))]);
    let spec = |at, find| {
        let flags = statuses(flags.iter().copied());
        pairs(vec![("flags", flags), ("begin_search", at), ("find_keys", find)])
    };
    let mut specs = Vec::new();
    if first > 0 {
        // The last key is told relative to the first, unless it is counted from the end.
        let last = if last < 0 { last } else { last - first };
        let range = pairs(vec![("lastkey", int(last)), ("keystep", int(step)), ("limit", int(0))]);
        specs.push(spec(at(first), pairs(vec![("type", Reply::fixed("range")), ("spec", range)])));
    }
    if counted > 0 {
        let count = pairs(vec![("keynumidx", int(0)), ("firstkey", int(1)), ("keystep", int(1))]);
        specs.push(spec(at(counted), pairs(vec![("type", Reply::fixed("keynum")), ("spec", count)])));
    }
    for word in options.words() {
        let behind = pairs(vec![("keyword", Reply::fixed(word)), ("startfrom", int(options.from))]);
        let behind = pairs(vec![("type", Reply::fixed("keyword")), ("spec", behind)]);
        let range = pairs(vec![("lastkey", int(0)), ("keystep", int(1)), ("limit", int(0))]);
        specs.push(spec(behind, pairs(vec![("type", Reply::fixed("range")), ("spec", range)])));
    }
    specs
}

/// One pair of COMMAND DOCS.
fn docs(spec: &'static Spec) -> (Reply, Reply) {
    let mut doc = vec![
        ("summary", Reply::fixed(spec.summary)),
        ("since", Reply::fixed(spec.since)),
        ("group", Reply::fixed(spec.group.name())),
        ("complexity", Reply::fixed(spec.complexity)),
    ];
    let arguments = syntax::arguments(spec.syntax);
    if !arguments.is_empty() {
        doc.push(("arguments", Reply::Array(arguments.into_iter().map(argument).collect())));
    }
    if !spec.subcommands.is_empty() {
        doc.push(("subcommands", Reply::Map(spec.subcommands.iter().map(docs).collect())));
    }
    (Reply::fixed(spec.name), pairs(doc))
}

fn argument(argument: Argument) -> Reply {
    let flags = [(argument.optional, "optional"), (argument.multiple, "multiple")];
    let flags: Vec<Reply> = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| Reply::Status(name)).collect();
    let mut doc = vec![("name", Reply::Bulk(Bytes::from(argument.name))), ("type", Reply::fixed(argument.kind.name()))];
    if argument.kind == ArgumentKind::Key {
        doc.push(("key_spec_index", int(0)));
    }
    if let Some(token) = argument.token {
        doc.push(("token", Reply::fixed(token)));
    }
    if !flags.is_empty() {
        doc.push(("flags", Reply::Set(flags)));
    }
    if !argument.arguments.is_empty() {
        doc.push(("arguments", Reply::Array(argument.arguments.into_iter().map(self::argument).collect())));
    }
    pairs(doc)
}
