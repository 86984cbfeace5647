//! What COMMAND answers about the table.

use bytes::Bytes;
use simplekv_types::{Failure, Reply};

use crate::control::{CommandQuery, ListFilter};
use crate::glob;
use crate::parser::Args;
use crate::syntax::{self, Argument, ArgumentKind};
use crate::table::{self, Flags, Group, KeyPlace, KeyPositions, KeySpec, Spec, TABLE};

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
        CommandQuery::GetKeys { args, with_use } => get_keys(args, *with_use).unwrap_or_else(Reply::Error),
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
        ListFilter::None => true,
        ListFilter::Module => false,
        ListFilter::Category(category) => {
            categories(spec).iter().any(|name| name.trim_start_matches('@').as_bytes().eq_ignore_ascii_case(category))
        }
        ListFilter::Pattern(pattern) => glob::matches_ignoring_case(pattern, spec.name.as_bytes()),
    }
}

fn get_keys(args: &Args, with_use: bool) -> Result<Reply, Failure> {
    let spec = table::row(args).map_err(|_| Failure::command("ERR Invalid command specified"))?;
    if !spec.has_keys() {
        return Err(Failure::command("ERR The command has no key arguments"));
    }
    if !spec.takes(args.len()) {
        return Err(Failure::command("ERR Invalid number of arguments specified for command"));
    }
    let keys = spec.keys_with_use(args);
    if keys.is_empty() && !spec.may_have_no_keys() {
        return Err(Failure::command("ERR Invalid arguments specified for command"));
    }
    let told = |(key, key_use): (&Bytes, table::KeyUse)| match with_use {
        false => Reply::Bulk(key.clone()),
        true => Reply::Array(vec![Reply::Bulk(key.clone()), statuses(key_use.flags.iter().copied())]),
    };
    Ok(Reply::Array(keys.into_iter().map(told).collect()))
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
        || matches!(command, "command" | "wait" | "waitaof" | "readonly" | "readwrite" | "asking");
    let is_sort = matches!(command, "sort" | "sort_ro");
    let is_about_keyspace = is_about_data && is_about_keys && !is_sort && !matches!(command, "memory" | "lolwut");
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
        (is_about_keyspace || spec.name == "object|help", "@keyspace"),
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
    spec.key_specs().into_iter().map(key_spec).collect()
}

fn key_spec(spec: KeySpec) -> Reply {
    let kind = |kind, spec| pairs(vec![("type", Reply::fixed(kind)), ("spec", pairs(spec))]);
    let index = |index: i8| kind("index", vec![("index", int(index))]);
    let range =
        |last: i8, step: i8| kind("range", vec![("lastkey", int(last)), ("keystep", int(step)), ("limit", int(0))]);
    let (begin, find) = match spec.place {
        // The last key is told relative to the first, unless it is counted from the end.
        KeyPlace::Range { first, last, step } => {
            (index(first), range(if last < 0 { last } else { last - first }, step))
        }
        KeyPlace::Counted(at) => {
            let count = vec![("keynumidx", int(0)), ("firstkey", int(1)), ("keystep", int(1))];
            (index(at), kind("keynum", count))
        }
        KeyPlace::Behind { word, from } => {
            (kind("keyword", vec![("keyword", Reply::fixed(word)), ("startfrom", int(from))]), range(0, 1))
        }
    };
    let mut told = Vec::with_capacity(4);
    if !spec.key_use.notes.is_empty() {
        told.push(("notes", Reply::fixed(spec.key_use.notes)));
    }
    let flags = statuses(spec.key_use.flags.iter().copied());
    told.extend([("flags", flags), ("begin_search", begin), ("find_keys", find)]);
    pairs(told)
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
