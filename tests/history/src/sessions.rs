//! What must come before what, beyond what their times say.
//!
//! A read under a session's promise may answer something older than its start, but nothing older than what the session has read and
//! written before. That is the same as a read which may take place at any time before its end, but after those operations. So one
//! search judges all promises. Reads that promise no session bind nobody, and nothing that comes after them.

use crate::operation::{Operation, Policy};

/// Which entries an entry must come after; entries are places in the list given.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    /// Entry by entry.
    list: Vec<u32>,
    /// Where those of each entry begin and end in the list.
    ranges: Vec<(u32, u32)>,
    /// Entries, such that each comes after all that must come before it.
    pub(crate) order: Vec<u32>,
}

impl Guards {
    pub(crate) fn of(&self, entry: usize) -> &[u32] {
        let (begin, end) = self.ranges.get(entry).copied().unwrap_or_default();
        self.list.get(begin as usize..end as usize).unwrap_or_default()
    }

    /// Those of answered operations of one key.
    pub(crate) fn new(operations: &[&Operation]) -> Self {
        let session = |operation: &Operation| operation.session.unwrap_or(operation.client);
        let mut order: Vec<u32> = (0..).zip(operations).map(|(place, _)| place).collect();
        let at = |place: u32| operations.get(place as usize);
        order.sort_unstable_by_key(|&place| {
            at(place).map(|operation| (session(operation), operation.start, operation.end, place))
        });
        let mut guards = Self { list: Vec::new(), ranges: vec![(0, 0); operations.len()], order: Vec::new() };
        // Those of one session that bind later ones, each with the latest end up to it.
        let mut before: Vec<(u32, &Operation, u64)> = Vec::new();
        for (place, operation) in order.iter().filter_map(|&place| Some((place, *at(place)?))) {
            if before.first().is_some_and(|(_, first, _)| session(first) != session(operation)) {
                before.clear();
            }
            let begin = guards.list.len();
            if binds(operation) {
                latest_before(operation, &before, &mut guards.list);
                let latest = before.last().map_or(0, |(_, _, latest)| *latest).max(operation.end);
                before.push((place, operation, latest));
            }
            if let Some(range) = guards.ranges.get_mut(place as usize) {
                let index = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
                *range = (index(begin), index(guards.list.len()));
            }
        }
        guards.order = order;
        guards
    }
}

fn binds(operation: &Operation) -> bool {
    operation.is_strict() || operation.policy == Policy::Session
}

/// Lists the session's operations that `operation` must come after and that neither its start nor another one of them says it must.
fn latest_before(operation: &Operation, before: &[(u32, &Operation, u64)], list: &mut Vec<u32>) {
    let mut latest_start = None;
    for &(place, earlier, latest_end) in before.iter().rev() {
        // Neither does any before it.
        let is_said_by_start = |end: u64| operation.is_strict() && end < operation.start;
        if is_said_by_start(latest_end) || latest_start.is_some_and(|start| latest_end <= start) {
            return;
        }
        if earlier.end <= operation.start && !is_said_by_start(earlier.end) {
            list.push(place);
            latest_start = latest_start.max(Some(earlier.start));
        }
    }
}
