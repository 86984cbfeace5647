//! Arguments of the commands about the server.

use simplekv_types::Failure;

use super::{CommandQuery, ConfigCommand, Control, LatencyCommand, ListFilter, MemoryQuery, SlowLogCommand};
use crate::command::{Body, SYNTAX, Words};
use crate::number::parse_i64;
use crate::table;

type Parsed = Result<Body, Failure>;

fn control(control: Control) -> Parsed {
    Ok(Body::Control(control))
}

fn command(query: CommandQuery) -> Parsed {
    control(Control::Command(query))
}

pub(crate) fn command_all(_words: &mut Words<'_>) -> Parsed {
    command(CommandQuery::All)
}

pub(crate) fn command_count(_words: &mut Words<'_>) -> Parsed {
    command(CommandQuery::Count)
}

pub(crate) fn command_info(words: &mut Words<'_>) -> Parsed {
    command(CommandQuery::Info { names: words.rest() })
}

pub(crate) fn command_docs(words: &mut Words<'_>) -> Parsed {
    command(CommandQuery::Docs { names: words.rest() })
}

pub(crate) fn command_getkeys(words: &mut Words<'_>) -> Parsed {
    command(CommandQuery::GetKeys { args: words.rest(), with_use: false })
}

pub(crate) fn command_getkeysandflags(words: &mut Words<'_>) -> Parsed {
    command(CommandQuery::GetKeys { args: words.rest(), with_use: true })
}

pub(crate) fn command_list(words: &mut Words<'_>) -> Parsed {
    let Some(option) = words.option() else { return command(CommandQuery::List { filter: ListFilter::None }) };
    if !option.eq_ignore_ascii_case(b"filterby") || words.len() != 2 {
        return Err(SYNTAX);
    }
    let (kind, value) = (words.word()?, words.word()?);
    let filter = match kind.to_ascii_lowercase().as_slice() {
        b"module" => ListFilter::Module,
        b"aclcat" => ListFilter::Category(value),
        b"pattern" => ListFilter::Pattern(value),
        _ => return Err(SYNTAX),
    };
    command(CommandQuery::List { filter })
}

pub(crate) fn config_get(words: &mut Words<'_>) -> Parsed {
    control(Control::Config(ConfigCommand::Get { patterns: words.rest() }))
}

pub(crate) fn config_set(words: &mut Words<'_>) -> Parsed {
    let pairs = words.pairs().map_err(|_| table::wrong_arity(words.spec))?;
    let name = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    let settings = pairs.into_iter().map(|(key, value)| (name(&key), value)).collect();
    control(Control::Config(ConfigCommand::Set { settings }))
}

pub(crate) fn config_resetstat(_words: &mut Words<'_>) -> Parsed {
    control(Control::Config(ConfigCommand::ResetStat))
}

pub(crate) fn config_rewrite(_words: &mut Words<'_>) -> Parsed {
    control(Control::Config(ConfigCommand::Rewrite))
}

pub(crate) fn debug(_words: &mut Words<'_>) -> Parsed {
    control(Control::Debug)
}

pub(crate) fn lolwut(_words: &mut Words<'_>) -> Parsed {
    control(Control::Lolwut)
}

pub(crate) fn memory_doctor(_words: &mut Words<'_>) -> Parsed {
    control(Control::Memory(MemoryQuery::Doctor))
}

pub(crate) fn memory_malloc_stats(_words: &mut Words<'_>) -> Parsed {
    control(Control::Memory(MemoryQuery::MallocStats))
}

pub(crate) fn memory_purge(_words: &mut Words<'_>) -> Parsed {
    control(Control::Memory(MemoryQuery::Purge))
}

pub(crate) fn memory_stats(_words: &mut Words<'_>) -> Parsed {
    control(Control::Memory(MemoryQuery::Stats))
}

pub(crate) fn info(words: &mut Words<'_>) -> Parsed {
    let sections = words.rest().iter().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    control(Control::Info { sections })
}

pub(crate) fn time(_words: &mut Words<'_>) -> Parsed {
    control(Control::Time)
}

pub(crate) fn role(_words: &mut Words<'_>) -> Parsed {
    control(Control::Role)
}

pub(crate) fn lastsave(_words: &mut Words<'_>) -> Parsed {
    control(Control::LastSave)
}

pub(crate) fn module_list(_words: &mut Words<'_>) -> Parsed {
    control(Control::ModuleList)
}

pub(crate) fn acl_whoami(_words: &mut Words<'_>) -> Parsed {
    control(Control::AclWhoAmI)
}

fn slowlog(command: SlowLogCommand) -> Parsed {
    control(Control::SlowLog(command))
}

pub(crate) fn slowlog_get(words: &mut Words<'_>) -> Parsed {
    let Some(count) = words.option() else {
        return slowlog(SlowLogCommand::Get { count: Some(SlowLogCommand::COUNT_DEFAULT) });
    };
    words.end().map_err(|_| {
        Failure::command("ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.")
    })?;
    let count = parse_i64(&count).filter(|count| *count >= -1);
    let count = count.ok_or(Failure::command("ERR count should be greater than or equal to -1"))?;
    slowlog(SlowLogCommand::Get { count: u64::try_from(count).ok() })
}

pub(crate) fn slowlog_len(_words: &mut Words<'_>) -> Parsed {
    slowlog(SlowLogCommand::Len)
}

pub(crate) fn slowlog_reset(_words: &mut Words<'_>) -> Parsed {
    slowlog(SlowLogCommand::Reset)
}

fn latency(command: LatencyCommand) -> Parsed {
    control(Control::Latency(command))
}

pub(crate) fn latency_latest(_words: &mut Words<'_>) -> Parsed {
    latency(LatencyCommand::Latest)
}

pub(crate) fn latency_history(words: &mut Words<'_>) -> Parsed {
    latency(LatencyCommand::History { event: words.word()? })
}

pub(crate) fn latency_reset(_words: &mut Words<'_>) -> Parsed {
    latency(LatencyCommand::Reset)
}

pub(crate) fn latency_doctor(_words: &mut Words<'_>) -> Parsed {
    latency(LatencyCommand::Doctor)
}

pub(crate) fn latency_graph(words: &mut Words<'_>) -> Parsed {
    latency(LatencyCommand::Graph { event: words.word()? })
}

pub(crate) fn latency_histogram(words: &mut Words<'_>) -> Parsed {
    latency(LatencyCommand::Histogram { names: words.rest() })
}
