//! Answers about the server as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use simplekv_types::{Failure, Reply};

use crate::control::{ConfigCommand, Control, LatencyCommand, MemoryQuery, SlowLogCommand};
use crate::facts::{Facts, Mode, RoleFacts};
use crate::glob;
use crate::number::parse_i64;
use crate::slow_log::{SlowLog, SlowRequest};

pub(super) fn answer(control: &Control, facts: &dyn Facts) -> Result<Reply, Failure> {
    match control {
        Control::Config(command) => config(command, facts),
        Control::Time => Ok(time(facts.now_micros())),
        Control::Role => Ok(role(&facts.role())),
        Control::LastSave => Ok(int(facts.info().last_flush)),
        Control::ModuleList => Ok(Reply::Array(Vec::new())),
        Control::SlowLog(command) => Ok(slow_log(*command, facts)),
        Control::Latency(command) => latency(command),
        Control::Memory(query) => Ok(memory(*query, facts)),
        Control::Debug => Err(NO_DEBUG),
        Control::Lolwut => Ok(Reply::Text(format!("simplekv ver. {}\n", env!("CARGO_PKG_VERSION")).into())),
        _ => Err(Failure::command("ERR not a command about the server")),
    }
}

/// What a Redis says that was not told to allow it: here it cannot be.
const NO_DEBUG: Failure = Failure::command(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, \
     otherwise you need to set this option in the configuration file, and then restart the server.",
);

fn memory(query: MemoryQuery, facts: &dyn Facts) -> Reply {
    let text = |text: &'static str| Reply::Text(Bytes::from_static(text.as_bytes()));
    match query {
        MemoryQuery::Doctor => text("Memory is measured and shown by the metrics endpoint, not judged here."),
        MemoryQuery::MallocStats => text("Stats not supported for the current allocator"),
        MemoryQuery::Purge => Reply::Ok,
        MemoryQuery::Stats => {
            let info = facts.info();
            let figures = [
                ("peak.allocated", info.peak_memory),
                ("total.allocated", info.used_memory),
                ("keys.count", info.keys),
                ("resident.bytes", info.resident_memory),
            ];
            Reply::Map(figures.into_iter().map(|(name, value)| (Reply::fixed(name), int(value))).collect())
        }
    }
}

fn int(number: u64) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn time(micros: u64) -> Reply {
    Reply::Array([micros / 1_000_000, micros % 1_000_000].map(|part| Reply::text(part.to_string())).to_vec())
}

fn role(role: &RoleFacts) -> Reply {
    match role {
        RoleFacts::Leader { log_end, followers } => {
            let follower = |follower: &crate::facts::FollowerFacts| {
                let numbers = [follower.port.to_string(), follower.log_end.to_string()];
                Reply::Array(std::iter::once(follower.host.clone()).chain(numbers).map(Reply::text).collect())
            };
            let followers = followers.iter().map(follower).collect();
            Reply::Array(vec![Reply::fixed("master"), int(*log_end), Reply::Array(followers)])
        }
        RoleFacts::Follower { host, port, is_connected, log_end } => Reply::Array(vec![
            Reply::fixed("slave"),
            Reply::text(&**host),
            int(u64::from(*port)),
            Reply::fixed(if *is_connected { "connected" } else { "connect" }),
            int(*log_end),
        ]),
    }
}

/// What clients and tools look for, where the process does not say otherwise.
fn usual_settings(mode: Mode) -> [(&'static str, Cow<'static, str>); 11] {
    let enabled = if mode == Mode::Cluster { "yes" } else { "no" };
    [
        ("appendfsync", "always"),
        ("appendonly", "yes"),
        ("cluster-enabled", enabled),
        ("databases", "1"),
        ("maxclients", "10000"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("notify-keyspace-events", ""),
        ("proto-max-bulk-len", "8388608"),
        ("save", ""),
        ("timeout", "0"),
    ]
    .map(|(name, value)| (name, Cow::Borrowed(value)))
}

fn config(command: &ConfigCommand, facts: &dyn Facts) -> Result<Reply, Failure> {
    let settings: BTreeMap<&'static str, Cow<'static, str>> =
        usual_settings(facts.mode()).into_iter().chain(slow_log_settings(facts)).chain(facts.settings()).collect();
    match command {
        ConfigCommand::Get { patterns } => {
            let wanted =
                |name: &str| patterns.iter().any(|pattern| glob::matches_ignoring_case(pattern, name.as_bytes()));
            let pairs = settings.into_iter().filter(|(name, _)| wanted(name));
            Ok(Reply::Map(pairs.map(|(name, value)| (Reply::fixed(name), Reply::text(value))).collect()))
        }
        ConfigCommand::Set { settings: changes } => {
            for (name, value) in changes {
                match settings.get(name.as_str()) {
                    None => return Err(unknown_setting(name)),
                    // What it already is can always be set: tools do that without need.
                    Some(current) if current.as_bytes() == &value[..] => (),
                    Some(_) => match (name.as_str(), facts.slow_log()) {
                        (SLOWER_THAN, Some(log)) => {
                            log.set_slower_than(number(name, value, -1, i64::MAX)?);
                        }
                        (SLOW_LENGTH, Some(log)) => {
                            let most = i64::try_from(SlowLog::LENGTH_MAX).unwrap_or(i64::MAX);
                            log.set_length_max(usize::try_from(number(name, value, 0, most)?).unwrap_or(0));
                        }
                        _ => facts.change_setting(name, value)?,
                    },
                }
            }
            Ok(Reply::Ok)
        }
        ConfigCommand::Rewrite => {
            Err(Failure::command("ERR CONFIG REWRITE is not done here: what CONFIG SET changes ends with the process"))
        }
        ConfigCommand::ResetStat => {
            facts.reset_stats();
            Ok(Reply::Ok)
        }
    }
}

fn unknown_setting(name: &str) -> Failure {
    Failure::Command(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'").into())
}

const SLOWER_THAN: &str = "slowlog-log-slower-than";
const SLOW_LENGTH: &str = "slowlog-max-len";

fn slow_log_settings(facts: &dyn Facts) -> impl Iterator<Item = (&'static str, Cow<'static, str>)> {
    let (slower_than, length) = facts.slow_log().map_or((-1, 0), |log| (log.slower_than(), log.length_max()));
    [(SLOWER_THAN, slower_than.to_string().into()), (SLOW_LENGTH, length.to_string().into())].into_iter()
}

/// The value of a setting that is a number.
fn number(name: &str, value: &[u8], least: i64, most: i64) -> Result<i64, Failure> {
    let wrong = |what: String| {
        Failure::Command(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {what}").into())
    };
    let number = parse_i64(value).ok_or_else(|| wrong("argument couldn't be parsed into an integer".to_owned()))?;
    let fits = (least..=most).contains(&number);
    fits.then_some(number).ok_or_else(|| wrong(format!("argument must be between {least} and {most} inclusive")))
}

fn slow_log(command: SlowLogCommand, facts: &dyn Facts) -> Reply {
    let log = facts.slow_log();
    match command {
        SlowLogCommand::Len => int(log.map_or(0, |log| log.len() as u64)),
        SlowLogCommand::Reset => {
            log.iter().for_each(|log| log.clear());
            Reply::Ok
        }
        SlowLogCommand::Get { count } => {
            let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
            let requests = log.map_or_else(Vec::new, |log| log.newest(count));
            Reply::Array(requests.into_iter().map(slow_request).collect())
        }
    }
}

fn slow_request(request: SlowRequest) -> Reply {
    let SlowRequest { id, at, micros, args, client, client_name } = request;
    let args = args.into_iter().map(Reply::Bulk).collect();
    Reply::Array(vec![int(id), int(at), int(micros), Reply::Array(args), Reply::text(client), Reply::text(client_name)])
}

/// Delays are in the metrics; here there are none to tell.
fn latency(command: &LatencyCommand) -> Result<Reply, Failure> {
    match command {
        LatencyCommand::Latest | LatencyCommand::History { .. } => Ok(Reply::Array(Vec::new())),
        LatencyCommand::Reset => Ok(Reply::Int(0)),
        LatencyCommand::Doctor => {
            Ok(Reply::Text(Bytes::from_static(b"Latencies are measured and shown by the metrics endpoint, not here.")))
        }
        LatencyCommand::Graph { event } => {
            let event = String::from_utf8_lossy(event);
            Err(Failure::Command(format!("ERR No samples available for event '{event}'").into()))
        }
        LatencyCommand::Histogram { .. } => Ok(Reply::Map(Vec::new())),
    }
}
