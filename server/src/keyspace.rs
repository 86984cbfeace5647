//! Commands about all keys: answered from every group this node leads, or from one that is named.

use std::sync::Arc;

use bytes::Bytes;
use simplekv_collections::Element;
use simplekv_commands::{self as commands, Elements, Entry, Meta, Outline, View};
use simplekv_resp::Command;
use simplekv_resp::control::ClusterCommand;
use simplekv_types::{Failure, GroupId, GroupTime, Reply, Slot, SlotRange};

use crate::clock;
use crate::group::{Answer, SlotSet};
use crate::hosted::Hosted;
use crate::serving::Begun;
use crate::shared::Shared;
use crate::view::AppliedView;

/// A group that may answer, with the lease it had when it was asked.
struct Part {
    group: Arc<Hosted>,
    begun: Begun,
}

/// Answers a command that reads all keys. `group`: only its keys.
pub(crate) fn read(shared: &Shared, command: &Command, group: Option<GroupId>) -> Answer {
    let asked = match command {
        Command::Scan(scan) if scan.slots != SlotRange::ALL => Some(scan.slots),
        _ => None,
    };
    with_view(shared, group, asked, |view, time| Some(commands::read(command, view, time)))
        .unwrap_or_else(|failure| failure.into())
}

/// Answers what CLUSTER asks about the keys of single slots; `None` for anything else.
pub(crate) fn answer_slots(shared: &Shared, command: &ClusterCommand) -> Option<Answer> {
    let answered = with_view(shared, None, None, |view, time| commands::answer_slot_query(command, view, time));
    match answered {
        Ok(answer) => Some(answer),
        Err(failure @ Failure::NoLeader { .. }) => Some(failure.into()),
        Err(_) => None,
    }
}

/// `asked`: slots that all have to be here, so that an answer without keys means that there are none.
fn with_view(
    shared: &Shared,
    group: Option<GroupId>,
    asked: Option<SlotRange>,
    answer: impl FnOnce(&dyn View, GroupTime) -> Option<Reply>,
) -> Result<Answer, Failure> {
    let now = clock::now();
    let groups: Vec<GroupId> = match group {
        Some(group) => vec![group],
        // One that cannot answer at this moment is not left out: its keys would seem to be gone.
        None => shared.routing().led_by(shared.node()).collect(),
    };
    let part = |group| {
        let hosted = shared.hosted(group)?;
        // A follower would have to wait for what is on its way, slot by slot.
        let begun = hosted.published().serving.begin(now).filter(|begun| begun.leads())?;
        Some(Part { group: hosted, begun })
    };
    let parts: Vec<Part> = groups
        .into_iter()
        .map(|group| part(group).ok_or_else(|| shared.routing().not_leader(Slot::MIN, group, shared.node())))
        .collect::<Result<_, _>>()?;
    let guards: Vec<_> = parts.iter().map(|part| part.group.reader().guard()).collect();
    // While the states are held still: slots that have been dropped since would seem to be empty.
    let owned: Vec<_> = parts.iter().map(|part| part.group.published().owned.load()).collect();
    let views = parts.iter().zip(guards).zip(&owned);
    let views =
        views.map(|((part, guard), owned)| (owned.shown(), AppliedView::new(guard, part.group.id(), owned.shown())));
    let views: Vec<(&SlotSet, AppliedView<'_>)> = views.collect();
    let union = Union { views };
    if let Some(slot) = asked.iter().find_map(|slots| slots.iter().find(|&slot| union.of_slot(slot).is_none())) {
        let routing = shared.routing();
        // Whoever counts on these slots being here has an older map, or we have.
        let led_here = routing.owner(slot).is_some_and(|group| !routing.led_elsewhere(group, shared.node()));
        return Err(if led_here { Failure::TryAgain { slot } } else { routing.moved(slot) });
    }
    let seen = parts.iter().zip(&union.views).map(|(part, (_, view))| {
        let history = part.group.published().history.load();
        history.position(part.group.id(), view.applied())
    });
    let seen = seen.collect();
    // Each view hides what has expired in its own group's time; a later one would hide keys that a GET still finds.
    let time = union.views.iter().map(|(_, view)| view.time()).min().unwrap_or(GroupTime::ZERO);
    let reply = answer(&union, time).ok_or(Failure::command("ERR not a question about keys"))?;
    let confirmed = clock::now();
    match parts.iter().find(|part| !part.group.published().serving.confirms(part.begun, confirmed)) {
        Some(part) => Err(Failure::NoLeader { group: part.group.id() }),
        None => Ok(Answer { reply, time, seen }),
    }
}

/// Several groups' keys as if they were one's.
struct Union<'a> {
    views: Vec<(&'a SlotSet, AppliedView<'a>)>,
}

impl Union<'_> {
    fn of_slot(&self, slot: Slot) -> Option<&AppliedView<'_>> {
        self.views.iter().find(|(owned, _)| owned.contains(slot)).map(|(_, view)| view)
    }
}

impl View for Union<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Failure> {
        self.of_slot(Slot::of_key(key)).map_or(Ok(None), |view| view.get(key))
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Meta>, Failure> {
        self.of_slot(Slot::of_key(key)).map_or(Ok(None), |view| view.meta(key))
    }

    fn elements(&self, key: &[u8]) -> Result<Option<Elements>, Failure> {
        self.of_slot(Slot::of_key(key)).map_or(Ok(None), |view| view.elements(key))
    }

    fn outline(&self, key: &[u8]) -> Result<Option<Outline>, Failure> {
        self.of_slot(Slot::of_key(key)).map_or(Ok(None), |view| view.outline(key))
    }

    fn element(&self, key: &[u8], name: &[u8]) -> Result<Option<Element>, Failure> {
        self.of_slot(Slot::of_key(key)).map_or(Ok(None), |view| view.element(key, name))
    }

    fn element_value(&self, key: &[u8], element: &Element) -> Result<Bytes, Failure> {
        let view = self.of_slot(Slot::of_key(key)).ok_or(Failure::command("ERR the key's slot is not here"))?;
        view.element_value(key, element)
    }

    fn owner(&self, slot: Slot) -> GroupId {
        self.of_slot(slot).map_or(GroupId(0), |view| view.owner(slot))
    }

    fn slots(&self) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = self.views.iter().flat_map(|(owned, _)| owned.ranges()).collect();
        ranges.sort_unstable();
        ranges
    }

    fn key_count(&self, slot: Slot) -> u64 {
        self.of_slot(slot).map_or(0, |view| view.key_count(slot))
    }

    fn scan_slot(
        &self,
        slot: Slot,
        from: u64,
        limit: usize,
        visit: &mut dyn FnMut(u64, Bytes, Meta),
    ) -> Result<Option<u64>, Failure> {
        self.of_slot(slot).map_or(Ok(None), |view| view.scan_slot(slot, from, limit, visit))
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}
