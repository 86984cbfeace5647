//! Loads for people.

use comfy_table::Cell;

use super::{bytes, columns, list, none_or};
use crate::output::Render;
use crate::report::load::{HotKey, HotKeys, HotSlots};

impl Render for HotKeys {
    fn render(&self, _: bool) -> String {
        if self.reads.is_empty() && self.writes.is_empty() {
            return format!("no keys were asked for lately{}", missing(&self.unreachable));
        }
        let of_kind =
            |kind: &'static str, keys: &[HotKey]| -> Vec<[Cell; 6]> { keys.iter().map(|hot| row(kind, hot)).collect() };
        let rows = of_kind("read", &self.reads).into_iter().chain(of_kind("written", &self.writes));
        let table = columns(["", "OPS/S", "AT MOST LESS", "SLOT", "NODES", "KEY"], rows, &[1, 2, 3], false);
        format!("{table}{}", missing(&self.unreachable))
    }
}

fn row(kind: &str, hot: &HotKey) -> [Cell; 6] {
    let nodes = hot.nodes.iter().map(|(node, rate)| format!("{node}:{rate}")).collect::<Vec<_>>().join(",");
    // A line end or an escape sequence in a key must not do anything to the terminal.
    let key = hot.key.escape_debug().to_string();
    [kind.to_owned(), hot.rate.to_string(), hot.excess.to_string(), hot.slot.to_string(), nodes, key].map(Cell::new)
}

impl Render for HotSlots {
    fn render(&self, _: bool) -> String {
        if self.slots.is_empty() {
            return format!("no slot was asked or holds anything{}", missing(&self.unreachable));
        }
        let per_second = |count: u64| format!("{:.0}", count as f64 / self.seconds.max(0.001));
        let rows = self.slots.iter().map(|slot| {
            let [reads, writes] = [slot.reads, slot.writes].map(per_second);
            let group = none_or(slot.group.as_ref());
            [slot.slot.to_string(), group, reads, writes, slot.keys.to_string(), bytes(slot.bytes)].map(Cell::new)
        });
        let table = columns(["SLOT", "GROUP", "READS/S", "WRITES/S", "KEYS", "BYTES"], rows, &[0, 2, 3, 4, 5], false);
        format!("{table}{}", missing(&self.unreachable))
    }
}

fn missing(unreachable: &[String]) -> String {
    if unreachable.is_empty() {
        String::new()
    } else {
        format!("\nwithout what is asked of {}, which did not answer", list(unreachable))
    }
}
