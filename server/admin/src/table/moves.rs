//! Plans and jobs for people.

use std::fmt::Write;

use comfy_table::Cell;

use super::columns;
use crate::output::Render;
use crate::report::moves::{Changed, Job, Jobs, Move, Ordered, Plan};

impl Render for Plan {
    fn render(&self, _: bool) -> String {
        if self.steps.is_empty() && self.remove_group.is_none() {
            return "nothing has to be moved".to_owned();
        }
        let rows = self.steps.iter().map(|step| {
            let slots =
                if step.first == step.last { step.first.to_string() } else { format!("{}-{}", step.first, step.last) };
            let from = step.from.clone().unwrap_or_else(|| "nobody".to_owned());
            [slots, step.count().to_string(), from, step.to.clone()].map(Cell::new)
        });
        let mut text = columns(["SLOTS", "COUNT", "FROM", "TO"], rows, &[1], false);
        let total: usize = self.steps.iter().map(|step| step.count()).sum();
        let _ = write!(text, "\n\n{total} slots, for version {} of the slot map", self.slot_map_version);
        if let Some(group) = &self.remove_group {
            let _ = write!(text, "; then {group} is removed");
        }
        text
    }
}

impl Render for Ordered {
    fn render(&self, _: bool) -> String {
        format!("ordered as {0}; follow it with `simplekv-admin migrations watch {0}`", self.job)
    }
}

impl Render for Changed {
    fn render(&self, _: bool) -> String {
        format!("{} is {}", self.job, self.state)
    }
}

impl Render for Jobs {
    fn render(&self, _: bool) -> String {
        if self.jobs.is_empty() {
            return "no slots have been moved yet".to_owned();
        }
        let rows = self.jobs.iter().map(|job| {
            let slots = format!("{} of {}", job.slots_done, job.slots_total);
            [job.name.clone(), job.state.to_owned(), slots, job.asked.clone()].map(Cell::new)
        });
        columns(["JOB", "STATE", "SLOTS", "ASKED"], rows, &[2], false)
    }
}

impl Render for Job {
    fn render(&self, _: bool) -> String {
        let mut text = format!("job    {}\nasked  {}\nstate  {}", self.name, self.asked, self.state);
        if !self.reason.is_empty() {
            let _ = write!(text, ": {}", self.reason);
        }
        let _ = write!(text, "\nslots  {} of {}", self.slots_done, self.slots_total);
        if let Some(ended) = self.ended_ms {
            let _ = write!(text, "\ntook   {} ms", ended.saturating_sub(self.begun_ms));
        }
        if !self.moves.is_empty() {
            let rows = self.moves.iter().map(|moving| moving.row().map(Cell::new));
            let heads = ["SLOTS", "FROM", "TO", "STATE", "COPIED", "RECORDS", "MB", "MB/S"];
            let _ = write!(text, "\n\n{}", columns(heads, rows, &[4, 5, 6, 7], false));
        }
        text
    }
}

impl Job {
    /// How it stands, in a line.
    pub(crate) fn line(&self) -> String {
        let percent = (self.slots_done * 100).checked_div(self.slots_total).unwrap_or(100);
        let mut line = format!("{percent:3} %  {} of {} slots", self.slots_done, self.slots_total);
        if self.state != "moving" {
            let _ = write!(line, ", {}", self.state);
        }
        for moving in &self.moves {
            let [slots, from, to, state, copied, records, mb, rate] = moving.row();
            let _ =
                write!(line, "; {slots} {from} to {to}: {state}, {copied}, {records} records, {mb} MB, {rate} MB/s");
        }
        line
    }
}

impl Move {
    fn row(&self) -> [String; 8] {
        let mb =
            |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
        [
            self.slots.join(","),
            self.source.clone(),
            self.target.clone(),
            self.state.clone(),
            self.slots_scanned.map_or_else(|| "-".to_owned(), |scanned| format!("{scanned} of {}", self.slots_total)),
            self.records.map_or_else(|| "-".to_owned(), |records| records.to_string()),
            mb(self.bytes),
            mb(self.bytes_per_second),
        ]
    }
}
