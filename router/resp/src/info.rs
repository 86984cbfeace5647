//! The text INFO answers.

use std::fmt::Write as _;

use crate::facts::{InfoFacts, Mode, REDIS_VERSION, RoleFacts};

/// Name and value, one line each.
type Lines = Vec<(&'static str, String)>;
/// A title, and where its lines come from.
type Section = (&'static str, fn(&InfoFacts) -> Lines);

/// The sections that are asked for, by their names in lower case; none, `default`, `all` or `everything`: all of them.
#[must_use]
pub fn text(facts: &InfoFacts, wanted: &[String]) -> String {
    let all = wanted.is_empty() || wanted.iter().any(|name| matches!(name.as_str(), "default" | "all" | "everything"));
    let sections: [Section; 9] = [
        ("Server", server),
        ("Clients", clients),
        ("Memory", memory),
        ("Persistence", persistence),
        ("Stats", stats),
        ("Replication", replication),
        ("CPU", cpu),
        ("Modules", |_| Lines::new()),
        ("Cluster", |facts| vec![("cluster_enabled", u8::from(facts.mode == Mode::Cluster).to_string())]),
    ];
    let known = sections.into_iter().map(|(title, lines)| (title, lines(facts)));
    let more = facts.more.iter().map(|(title, lines)| (*title, lines.clone()));
    let mut text = String::new();
    for (title, lines) in known.chain([("Keyspace", keyspace(facts))]).chain(more) {
        if !all && !wanted.iter().any(|name| title.eq_ignore_ascii_case(name)) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _infallible = write!(text, "# {title}\r\n");
        for (name, value) in lines {
            let _infallible = write!(text, "{name}:{value}\r\n");
        }
    }
    text
}

fn server(facts: &InfoFacts) -> Lines {
    vec![
        ("redis_version", REDIS_VERSION.to_owned()),
        ("redis_mode", facts.mode.name().to_owned()),
        ("simplekv_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("os", std::env::consts::OS.to_owned()),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", facts.process_id.to_string()),
        ("run_id", facts.run_id.clone()),
        ("tcp_port", facts.port.to_string()),
        ("uptime_in_seconds", facts.uptime_secs.to_string()),
        ("uptime_in_days", (facts.uptime_secs / 86_400).to_string()),
        ("config_file", facts.config_file.clone()),
    ]
}

fn clients(facts: &InfoFacts) -> Lines {
    vec![
        ("connected_clients", facts.connected_clients.to_string()),
        ("maxclients", facts.max_clients.to_string()),
        ("blocked_clients", facts.blocked_clients.to_string()),
        ("tracking_clients", facts.tracking_clients.to_string()),
    ]
}

fn memory(facts: &InfoFacts) -> Lines {
    vec![
        ("used_memory", facts.used_memory.to_string()),
        ("used_memory_human", human(facts.used_memory)),
        ("used_memory_rss", facts.resident_memory.to_string()),
        ("used_memory_rss_human", human(facts.resident_memory)),
        ("used_memory_peak", facts.peak_memory.to_string()),
        ("used_memory_peak_human", human(facts.peak_memory)),
        ("total_system_memory", facts.system_memory.to_string()),
        ("total_system_memory_human", human(facts.system_memory)),
        ("maxmemory", facts.max_memory.to_string()),
        ("maxmemory_human", human(facts.max_memory)),
        ("maxmemory_policy", "noeviction".to_owned()),
    ]
}

fn human(bytes: u64) -> String {
    // Exact to two digits behind the point, which is all that is shown.
    let bytes = bytes as f64;
    match bytes {
        _ if bytes < 1024.0 => format!("{bytes}B"),
        _ if bytes < 1024.0 * 1024.0 => format!("{:.2}K", bytes / 1024.0),
        _ if bytes < 1024.0 * 1024.0 * 1024.0 => format!("{:.2}M", bytes / (1024.0 * 1024.0)),
        _ => format!("{:.2}G", bytes / (1024.0 * 1024.0 * 1024.0)),
    }
}

fn persistence(facts: &InfoFacts) -> Lines {
    vec![
        ("loading", u8::from(facts.is_loading).to_string()),
        ("async_loading", "0".to_owned()),
        ("rdb_changes_since_last_save", "0".to_owned()),
        ("rdb_bgsave_in_progress", "0".to_owned()),
        ("rdb_last_save_time", facts.last_flush.to_string()),
        ("rdb_last_bgsave_status", "ok".to_owned()),
        ("aof_enabled", "1".to_owned()),
        ("aof_rewrite_in_progress", "0".to_owned()),
        ("aof_last_write_status", "ok".to_owned()),
        ("aof_current_size", facts.disk_bytes.to_string()),
        ("flush_policy", facts.flush_policy.to_string()),
    ]
}

fn stats(facts: &InfoFacts) -> Lines {
    vec![
        ("total_connections_received", facts.total_connections.to_string()),
        ("total_commands_processed", facts.total_commands.to_string()),
        ("instantaneous_ops_per_sec", facts.commands_per_sec.to_string()),
        ("total_net_input_bytes", facts.input_bytes.to_string()),
        ("total_net_output_bytes", facts.output_bytes.to_string()),
        ("rejected_connections", facts.rejected_connections.to_string()),
        ("expired_keys", facts.expired_keys.to_string()),
        ("evicted_keys", "0".to_owned()),
        ("keyspace_hits", facts.keyspace_hits.to_string()),
        ("keyspace_misses", facts.keyspace_misses.to_string()),
        ("pubsub_channels", facts.channels.to_string()),
        ("pubsub_patterns", facts.patterns.to_string()),
        ("total_error_replies", facts.error_replies.to_string()),
    ]
}

/// The lines of at most so many followers: their names must be known beforehand.
const FOLLOWER_NAMES: [&str; 9] =
    ["slave0", "slave1", "slave2", "slave3", "slave4", "slave5", "slave6", "slave7", "slave8"];

fn replication(facts: &InfoFacts) -> Lines {
    let mut lines = Vec::new();
    match &facts.role {
        RoleFacts::Leader { log_end, followers } => {
            lines.push(("role", "master".to_owned()));
            lines.push(("connected_slaves", followers.len().to_string()));
            for (name, follower) in FOLLOWER_NAMES.iter().zip(followers) {
                let (host, port, offset) = (&follower.host, follower.port, follower.log_end);
                lines.push((*name, format!("ip={host},port={port},state=online,offset={offset},lag=0")));
            }
            lines.push(("master_repl_offset", log_end.to_string()));
        }
        RoleFacts::Follower { host, port, is_connected, log_end } => {
            lines.push(("role", "slave".to_owned()));
            lines.push(("master_host", host.clone()));
            lines.push(("master_port", port.to_string()));
            lines.push(("master_link_status", if *is_connected { "up" } else { "down" }.to_owned()));
            lines.push(("master_sync_in_progress", "0".to_owned()));
            lines.push(("slave_repl_offset", log_end.to_string()));
            lines.push(("slave_read_only", "1".to_owned()));
            lines.push(("connected_slaves", "0".to_owned()));
            lines.push(("master_repl_offset", log_end.to_string()));
        }
    }
    lines.push(("master_replid", facts.run_id.clone()));
    lines
}

fn cpu(facts: &InfoFacts) -> Lines {
    vec![
        ("used_cpu_sys", format!("{:.6}", facts.cpu_sys_secs)),
        ("used_cpu_user", format!("{:.6}", facts.cpu_user_secs)),
    ]
}

fn keyspace(facts: &InfoFacts) -> Lines {
    if facts.keys == 0 {
        return Vec::new();
    }
    vec![("db0", format!("keys={},expires={},avg_ttl=0", facts.keys, facts.keys_with_expiry))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::FollowerFacts;

    #[test]
    fn clients_find_what_they_look_for() {
        let facts = InfoFacts { mode: Mode::Cluster, keys: 3, ..InfoFacts::default() };
        let text = text(&facts, &[]);
        for line in
            ["redis_version:7.4.0", "redis_mode:cluster", "loading:0", "role:master", "cluster_enabled:1", "# Modules"]
        {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        assert!(text.ends_with("# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n"));
    }

    #[test]
    fn only_the_sections_asked_for_are_answered() {
        let follower = FollowerFacts { host: "10.0.0.2".into(), port: 7421, log_end: 41 };
        let role = RoleFacts::Leader { log_end: 42, followers: vec![follower] };
        let facts = InfoFacts { role, run_id: "ab".into(), ..InfoFacts::default() };
        assert_eq!(
            text(&facts, &["replication".to_owned(), "nosuch".to_owned()]),
            "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n\
             slave0:ip=10.0.0.2,port=7421,state=online,offset=41,lag=0\r\nmaster_repl_offset:42\r\nmaster_replid:ab\r\n"
        );
        assert_eq!(text(&facts, &["nosuch".to_owned()]), "");
    }

    #[test]
    fn sizes_are_told_in_units() {
        for (bytes, expected) in [(0, "0B"), (1023, "1023B"), (1536, "1.50K"), (3 << 20, "3.00M"), (5 << 30, "5.00G")] {
            assert_eq!(human(bytes), expected);
        }
    }
}
