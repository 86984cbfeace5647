//! Answers about the server as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use simplekv_types::{Failure, Reply};

use crate::control::{ConfigCommand, Control, LatencyCommand, SlowLogCommand};
use crate::facts::{Facts, Mode, RoleFacts, SlowRequest};
use crate::glob;

pub(super) fn answer(control: &Control, facts: &dyn Facts) -> Result<Reply, Failure> {
    match control {
        Control::Config(command) => config(command, facts),
        Control::Time => Ok(time(facts.now_micros())),
        Control::Role => Ok(role(&facts.role())),
        Control::LastSave => Ok(int(facts.info().last_flush)),
        Control::ModuleList => Ok(Reply::Array(Vec::new())),
        Control::SlowLog(command) => Ok(slow_log(*command, facts)),
        Control::Latency(command) => latency(command),
        _ => Err(Failure::command("ERR not a command about the server")),
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
fn usual_settings(mode: Mode) -> [(&'static str, Cow<'static, str>); 12] {
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
        ("slowlog-log-slower-than", "10000"),
        ("timeout", "0"),
    ]
    .map(|(name, value)| (name, Cow::Borrowed(value)))
}

fn config(command: &ConfigCommand, facts: &dyn Facts) -> Result<Reply, Failure> {
    let settings: BTreeMap<&'static str, Cow<'static, str>> =
        usual_settings(facts.mode()).into_iter().chain(facts.settings()).collect();
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
                    Some(_) => facts.change_setting(name, value)?,
                }
            }
            Ok(Reply::Ok)
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

fn slow_log(command: SlowLogCommand, facts: &dyn Facts) -> Reply {
    match command {
        SlowLogCommand::Len => int(facts.slow_requests().len() as u64),
        SlowLogCommand::Reset => {
            facts.forget_slow_requests();
            Reply::Ok
        }
        SlowLogCommand::Get { count } => {
            let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
            Reply::Array(facts.slow_requests().into_iter().take(count).map(slow_request).collect())
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
