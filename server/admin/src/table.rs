//! Reports for people.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use crate::output::Render;
use crate::report::{
    Explanation, Finding, Group, Groups, Health, HealthReport, Initialised, Located, Nodes, Recovery, Remnant, Slots,
    StatusReport, Transferred,
};

mod load;
mod moves;

impl Render for StatusReport {
    fn render(&self, color: bool) -> String {
        let metadata = match self.metadata_reachable {
            true => "reachable".to_owned(),
            false => format!("not reachable for {}", age(self.metadata_age_ms)),
        };
        let mut text = format!(
            "cluster     {}\nhealth      {}\nslots       {} of {} served\ncontroller  {}\nmetadata    {metadata}",
            self.cluster.as_deref().unwrap_or("not created yet"),
            self.health.render(color),
            self.slots_served,
            self.slots_total,
            none_or(self.controller.as_ref()),
        );
        if !self.groups.is_empty() {
            let _ = write!(text, "\n\n{}", groups(&self.groups));
        }
        text.push_str(&findings(&self.findings, color));
        text
    }
}

impl Render for HealthReport {
    fn render(&self, color: bool) -> String {
        format!("{}{}", self.health.render(color), findings(&self.findings, color))
    }
}

impl Health {
    fn render(self, color: bool) -> String {
        match self {
            Self::Healthy => painted("healthy", Color::Green, color),
            Self::Degraded => painted("degraded", Color::Yellow, color),
            Self::Unhealthy => painted("unhealthy", Color::Red, color),
        }
    }
}

impl Render for Groups {
    fn render(&self, _: bool) -> String {
        if self.groups.is_empty() { "there are no groups yet".to_owned() } else { groups(&self.groups) }
    }
}

impl Render for Nodes {
    fn render(&self, color: bool) -> String {
        if self.nodes.is_empty() {
            return "no node has registered yet".to_owned();
        }
        let rows = self.nodes.iter().map(|node| {
            let state = match (node.live, node.answers) {
                (true, true) => Cell::new("live").fg(Color::Green),
                (true, false) => Cell::new("not answering").fg(Color::Yellow),
                (false, _) => Cell::new("down").fg(Color::Red),
            };
            let zone = if node.zone.is_empty() { "-" } else { &node.zone };
            let (leads, follows) = (list(&node.leads), list(&node.follows));
            let [id, zone, leads, follows] = [&*node.id, zone, &*leads, &*follows].map(Cell::new);
            let [grpc, resp, admin] = [&node.grpc, &node.resp, &node.admin].map(Cell::new);
            [id, state, zone, leads, follows, grpc, resp, admin]
        });
        columns(["NODE", "STATE", "ZONE", "LEADS", "FOLLOWS", "GRPC", "RESP", "ADMIN"], rows, &[], color)
    }
}

impl Render for Slots {
    fn render(&self, _: bool) -> String {
        if self.slots.is_empty() {
            return "no slots are owned".to_owned();
        }
        let rows = self.slots.iter().map(|range| {
            let slots =
                if range.count == 1 { range.first.to_string() } else { format!("{}-{}", range.first, range.last) };
            [slots, range.count.to_string(), range.group.clone(), none_or(range.leader.as_ref())].map(Cell::new)
        });
        columns(["SLOTS", "COUNT", "GROUP", "LEADER"], rows, &[1], false)
    }
}

impl Render for Located {
    fn render(&self, _: bool) -> String {
        let mut text = format!("slot    {}\ngroup   {}", self.slot, none_or(self.group.as_ref()));
        let _ = write!(text, "\nleader  {}", none_or(self.leader.as_ref()));
        if let (Some(resp), Some(grpc)) = (&self.resp, &self.grpc) {
            let _ = write!(text, "  (RESP {resp}, gRPC {grpc})");
        }
        text
    }
}

impl Render for Initialised {
    fn render(&self, _: bool) -> String {
        let verb = if self.created { "created" } else { "exists already:" };
        let groups = self.groups.iter().map(|group| format!("\n  {} on {}", group.id, group.replicas.join(", ")));
        format!("{verb} cluster {}{}", self.cluster, groups.collect::<String>())
    }
}

impl Render for Transferred {
    fn render(&self, _: bool) -> String {
        format!("{} is led by {} since epoch {}", self.group, self.leader, self.epoch)
    }
}

impl Render for Recovery {
    fn render(&self, _: bool) -> String {
        let Self { group, epoch, lineage, min_in_sync, .. } = self;
        let mut text =
            format!("{group}  lineage {lineage}  epoch {epoch}  min in sync {min_in_sync}\n\n{}", remnants(self));
        let Some(chosen) = &self.chosen else { return text };
        let verb = if self.done { "goes on" } else { "would go on" };
        let _ = write!(
            text,
            "\n\n{group} {verb} with the log of {chosen}: lineage {}, epoch {}; a write needs {} in-sync replicas\n",
            self.new_lineage, self.new_epoch, self.new_min_in_sync
        );
        text.push_str(if self.done { "what that cost:" } else { "what that costs:" });
        self.losses.iter().for_each(|loss| {
            let _ = write!(text, "\n  - {loss}");
        });
        text.push_str(match self.done {
            true => "\nThe others begin anew and are filled by it: simplekv-admin health --exit-when-healthy",
            false => "\nNothing was changed.",
        });
        text
    }
}

fn remnants(recovery: &Recovery) -> String {
    let rows = recovery.replicas.iter().map(|replica| {
        let can_be = if replica.candidate { "yes" } else { "no" };
        [
            replica.node.clone(),
            became(replica).to_owned(),
            number(replica.lineage),
            number(replica.last_epoch),
            number(replica.log_end),
            number(replica.high_watermark),
            number(replica.keys),
            can_be.to_owned(),
        ]
        .map(Cell::new)
    });
    let heading = ["NODE", "IN-SYNC REPLICA", "LINEAGE", "LAST EPOCH", "LOG END", "COMMITTED", "KEYS", "POSSIBLE"];
    columns(heading, rows, &[2, 3, 4, 5, 6], false)
}

/// What became of the replica that was listed in sync.
fn became(replica: &Remnant) -> &'static str {
    match replica.fate.as_deref() {
        None => "was not in sync",
        Some("lives") => "lives",
        Some("halted") if replica.halted.as_deref() == Some("metadata_regressed") => "waits, knows a later state",
        Some("halted") => "has halted",
        Some("ended") => "lost data, accounted for",
        Some("replaced") => "other disk, unaccounted for",
        Some("distrusted") => "storage failed",
        Some("absent") => "does not answer",
        Some(_) => "unknown",
    }
}

impl Render for Explanation {
    fn render(&self, _: bool) -> String {
        let lines = self.lines.iter().map(|line| format!("\n  {line}"));
        format!("{}{}", self.subject, lines.collect::<String>())
    }
}

fn groups(groups: &[Group]) -> String {
    let rows = groups.iter().map(|group| {
        [
            group.id.clone(),
            none_or(group.leader.as_ref()),
            group.epoch.to_string(),
            format!("{} of {}", group.in_sync.len(), group.replicas.len()),
            members(group),
            number(group.lag_records),
            group.slots.to_string(),
            number(group.keys),
            group.log_bytes.map_or_else(unknown, bytes),
        ]
        .map(Cell::new)
    });
    let heading = ["GROUP", "LEADER", "EPOCH", "IN SYNC", "REPLICAS", "LAG", "SLOTS", "KEYS", "DISK"];
    columns(heading, rows, &[2, 5, 6, 7, 8], false)
}

/// The replicas in order of preference; who is not in sync stands in brackets.
fn members(group: &Group) -> String {
    let shown =
        group.replicas.iter().map(|node| if group.in_sync.contains(node) { node.clone() } else { format!("({node})") });
    shown.collect::<Vec<_>>().join(",")
}

fn findings(findings: &[Finding], color: bool) -> String {
    let lines = findings.iter().map(|finding| {
        let mark = if finding.severity == "critical" { Color::Red } else { Color::Yellow };
        let severity = painted(finding.severity, mark, color);
        let advice = if finding.advice.is_empty() { String::new() } else { format!("\n  next: {}", finding.advice) };
        format!("\n{severity}: {}: {}{advice}", finding.subject, finding.message)
    });
    lines.collect()
}

/// Rows under a heading, without frames, so that `awk` and people read them alike. `numeric` columns are aligned right.
fn columns<const N: usize>(
    heading: [&str; N],
    rows: impl Iterator<Item = [Cell; N]>,
    numeric: &[usize],
    color: bool,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(heading);
    if color {
        table.enforce_styling()
    } else {
        table.force_no_tty()
    };
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if at == 0 { 0 } else { 1 }, 1));
        if numeric.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn painted(text: &str, color: Color, wanted: bool) -> String {
    let code = match color {
        Color::Green => 32,
        Color::Yellow => 33,
        _ => 31,
    };
    if wanted { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn none_or(name: Option<&String>) -> String {
    name.cloned().unwrap_or_else(|| "none".to_owned())
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

fn number(count: Option<u64>) -> String {
    count.map_or_else(unknown, |count| count.to_string())
}

fn unknown() -> String {
    "?".to_owned()
}

/// `3.0MiB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = count as f64;
    let mut shown = format!("{count}B");
    for unit in UNITS {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        shown = format!("{scaled:.1}{unit}");
    }
    shown
}

fn age(millis: u64) -> String {
    if millis < 10_000 { format!("{:.1}s", millis as f64 / 1000.0) } else { format!("{}s", millis / 1000) }
}

#[cfg(test)]
mod tests;
