//! Arguments of the commands about the server.

use simplekv_types::Failure;

use super::{CommandQuery, ConfigCommand, Control, LatencyCommand, ListFilter, SlowLogCommand};
use crate::command::{Body, SYNTAX, Words};
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
    command(CommandQuery::GetKeys { args: words.rest() })
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
    let count = if words.len() == 0 { 10 } else { words.integer()? };
    words.end()?;
    if count < -1 {
        return Err(Failure::command("ERR count should be greater than or equal to -1"));
    }
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
