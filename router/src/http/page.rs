//! A page that shows the cluster as the router sees it. Plain HTML, made here; it reloads itself.

use std::fmt::{self, Display, Formatter, Write as _};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use simplekv_client::{Group, NodeId, Topology};
use simplekv_types::SLOT_COUNT;

use crate::metrics::client_stats;
use crate::shared::Shared;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#1c1c1c}\
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3em .8em .3em 0;border-bottom:1px solid #ddd;vertical-align:top}\
th{font-weight:600;color:#555}.bad{color:#b00020;font-weight:600}.ok{color:#1b6e3c}code{font-size:.95em}\
@media(prefers-color-scheme:dark){body{background:#161616;color:#e4e4e4}th{color:#aaa}th,td{border-color:#333}\
.bad{color:#ff6b6b}.ok{color:#6fcf97}}";

pub(super) async fn page(State(shared): State<Arc<Shared>>) -> Html<String> {
    Html(render(&shared))
}

fn render(shared: &Shared) -> String {
    let topology = shared.topology();
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut page, shared, &topology);
    page
}

fn write(page: &mut String, shared: &Shared, topology: &Topology) -> fmt::Result {
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>simplekv</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"5\">\
         <style>{STYLE}</style></head><body><h1>simplekv</h1>"
    )?;
    if topology.is_unknown() {
        page.push_str("<p class=\"bad\">No node has told the topology yet.</p>");
    } else {
        summary(page, topology)?;
        groups(page, topology)?;
        nodes(page, topology)?;
    }
    router(page, shared)?;
    page.push_str("</body></html>\n");
    Ok(())
}

fn summary(page: &mut String, topology: &Topology) -> fmt::Result {
    let owned: usize = topology.slot_counts().iter().sum();
    let leaderless = topology.groups().iter().filter(|group| group.leader.is_none()).count();
    let (class, verdict) = match (owned == usize::from(SLOT_COUNT), leaderless) {
        (true, 0) => ("ok", "Every slot is served.".to_owned()),
        (true, count) => ("bad", format!("{count} groups have no leader.")),
        (false, _) => ("bad", format!("{} slots belong to no group.", usize::from(SLOT_COUNT) - owned)),
    };
    write!(
        page,
        "<p class=\"{class}\">{verdict}</p><p>Cluster <code>{}</code>, topology version {}, slot map version {}.</p>",
        topology.cluster(),
        topology.version(),
        topology.slot_map_version()
    )
}

fn groups(page: &mut String, topology: &Topology) -> fmt::Result {
    page.push_str(
        "<h2>Groups</h2><table><tr><th>Group<th>Leader<th>Epoch<th>In sync<th>Replicas<th>Slots<th>Ranges</tr>",
    );
    let ranges = topology.ranges();
    for (group, count) in topology.groups().iter().zip(topology.slot_counts()) {
        let owned = ranges.iter().filter(|(_, owner)| *owner == group.id).map(|(range, _)| range);
        write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td{}>{}<td>{}<td>{count}<td>{}</tr>",
            group.id,
            group.leader.map_or_else(|| "<span class=\"bad\">none</span>".to_owned(), |leader| leader.to_string()),
            group.epoch,
            if is_short_of_replicas(group) { " class=\"bad\"" } else { "" },
            Joined(group.in_sync.iter()),
            Joined(group.replicas.iter()),
            Joined(owned),
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn is_short_of_replicas(group: &Group) -> bool {
    group.in_sync.len() < group.replicas.len()
}

fn nodes(page: &mut String, topology: &Topology) -> fmt::Result {
    page.push_str(
        "<h2>Nodes</h2><table><tr><th>Node<th>State<th>gRPC<th>Redis<th>Admin<th>Zone<th>Leads<th>Follows</tr>",
    );
    for node in topology.nodes() {
        let (class, state) = if node.live { ("ok", "up") } else { ("bad", "down") };
        write!(
            page,
            "<tr><td>{}<td class=\"{class}\">{state}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            node.id,
            Escaped(&node.addresses.grpc),
            Escaped(&node.addresses.resp),
            Escaped(&node.addresses.admin),
            Escaped(&node.zone),
            Joined(led_by(topology, node.id).map(|group| group.id)),
            Joined(followed_by(topology, node.id).map(|group| group.id)),
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn led_by(topology: &Topology, node: NodeId) -> impl Iterator<Item = &Group> + Clone {
    topology.groups().iter().filter(move |group| group.leader == Some(node))
}

fn followed_by(topology: &Topology, node: NodeId) -> impl Iterator<Item = &Group> + Clone {
    topology.groups().iter().filter(move |group| group.leader != Some(node) && group.replicas.contains(&node))
}

fn router(page: &mut String, shared: &Shared) -> fmt::Result {
    let metrics = &shared.metrics;
    let (requests, errors) = metrics.requests();
    page.push_str("<h2>This router</h2><table>");
    let mut row = |name: &str, value: u64| write!(page, "<tr><td>{name}<td>{value}</tr>");
    row("Seconds up", metrics.uptime_secs())?;
    row("Connections open", u64::try_from(metrics.connections.get()).unwrap_or(0))?;
    row("Requests under way", shared.in_flight() as u64)?;
    row("Requests of the Redis protocol answered", requests)?;
    row("Of these with an error", errors)?;
    row("Requests of HTTP answered", metrics.http_requests.get())?;
    for (_, help, value) in client_stats(&shared.client) {
        row(help, value)?;
    }
    page.push_str("</table>");
    Ok(())
}

/// Items with commas between them.
struct Joined<I>(I);

impl<I: Iterator<Item: Display> + Clone> Display for Joined<I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.clone().enumerate() {
            write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Text that somebody else wrote.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_become_markup() {
        assert_eq!(Escaped("<b a=\"&\">").to_string(), "&lt;b a=&quot;&amp;&quot;&gt;");
        assert_eq!(Joined([1, 2].iter()).to_string(), "1, 2");
    }
}
