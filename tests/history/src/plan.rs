//! The operations of one key, made ready for the search.

#![expect(clippy::indexing_slicing, reason = "indices are those of the vectors made here")]

use crate::operation::{Operation, Outcome, Policy};
use crate::sessions::Guards;
use crate::values::{Change, Content, Need, Value, Values, answered, possible};

/// What a search works on.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Operations that must find their place, by the earliest moment it can be.
    pub(crate) entries: Vec<Entry>,
    /// Entries that must come before an entry, entry by entry.
    guards: Vec<u32>,
    /// Operations that may be left out, those that do the same together.
    pub(crate) classes: Vec<Class>,
    /// For each value, whether an operation that may be left out can make it.
    pub(crate) doubtful: Vec<bool>,
    pub(crate) values: Values<'a>,
}

/// An operation that was done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
    pub(crate) need: Need<Value>,
    pub(crate) becomes: Option<Value>,
    /// Whether some entry must come after it for another reason than time.
    pub(crate) is_guard: bool,
    guards: (u32, u32),
    /// Where it stands in the history.
    pub(crate) place: u32,
}

/// Operations that do the same if they are done. Whichever is needed, the one that began first will do.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) need: Need<Value>,
    pub(crate) change: Change<Value>,
    /// Start and place in the history of each, by start.
    pub(crate) members: Vec<(u64, u32)>,
}

/// How an operation of the history is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// As it says.
    AsTold,
    /// As if its outcome were unknown.
    Doubted,
}

impl<'a> Plan<'a> {
    /// `None` if the operations whose outcome is unknown leave more possibilities than can be told apart.
    pub(crate) fn new(history: &'a [Operation], chosen: impl Iterator<Item = (u32, Role)> + Clone) -> Option<Self> {
        let told = chosen.filter_map(|(place, role)| Some((place, role, history.get(place as usize)?)));
        let answers = told.clone().filter_map(|(place, role, operation)| match (role, &operation.outcome) {
            (Role::AsTold, Outcome::Ok(answer)) => Some((place, operation, answered(&operation.action, answer))),
            _ => None,
        });
        let doubts = told.filter_map(|(place, role, operation)| match (role, &operation.outcome) {
            (Role::AsTold, Outcome::Ok(_)) | (_, Outcome::Failed) => None,
            _ => Some((place, operation.start, possible(&operation.action)?)),
        });
        let values = tell_apart(answers.clone(), doubts.clone())?;
        let mut plan =
            Self { entries: Vec::new(), guards: Vec::new(), classes: Vec::new(), doubtful: Vec::new(), values };
        plan.classify(doubts);
        plan.enter(answers);
        Some(plan)
    }

    pub(crate) fn guards(&self, entry: &Entry) -> &[u32] {
        self.guards.get(entry.guards.0 as usize..entry.guards.1 as usize).unwrap_or_default()
    }

    fn classify(&mut self, doubts: impl Iterator<Item = (u32, u64, (Need<Content<'a>>, Change<Content<'a>>))>) {
        let mut doubts: Vec<_> = doubts
            .map(|(place, start, (need, change))| {
                let change = match change {
                    Change::Becomes(content) => Change::Becomes(self.values.of(content)),
                    Change::Adds(by) => Change::Adds(by),
                };
                (need.map(|content| self.values.of(content)), change, start, place)
            })
            .collect();
        doubts.sort_unstable();
        for (need, change, start, place) in doubts {
            match self.classes.last_mut().filter(|class| class.need == need && class.change == change) {
                Some(class) => class.members.push((start, place)),
                None => self.classes.push(Class { need, change, members: vec![(start, place)] }),
            }
        }
        self.doubtful = vec![false; self.values.count()];
        for class in &self.classes {
            match class.change {
                Change::Becomes(value) => self.doubtful[value.index()] = true,
                Change::Adds(_) => {
                    for (value, is_doubtful) in (0..).map(Value).zip(&mut self.doubtful) {
                        *is_doubtful |= self.values.number(value).is_some();
                    }
                }
            }
        }
    }

    fn enter(&mut self, answers: impl Iterator<Item = (u32, &'a Operation, (Need<Content<'a>>, Option<Content<'a>>))>) {
        let mut operations = Vec::new();
        let mut entries = Vec::new();
        for (place, operation, (need, becomes)) in answers {
            let (need, becomes) = (need.map(|c| self.values.of(c)), becomes.map(|c| self.values.of(c)));
            let (earliest, latest) = (earliest(operation), operation.end.max(operation.start));
            operations.push(operation);
            entries.push(Entry { earliest, latest, need, becomes, is_guard: false, guards: (0, 0), place });
        }
        let guards = Guards::new(&operations);
        if operations.iter().any(|operation| !operation.is_strict()) {
            self.wait_for_makers(&mut entries);
            for &entry in &guards.order {
                let bound = guards.of(entry as usize).iter().map(|&guard| entries[guard as usize].earliest).max();
                let entry = &mut entries[entry as usize];
                entry.earliest = entry.earliest.max(bound.unwrap_or(0));
            }
        }
        self.sort(&entries, &guards);
    }

    /// A read cannot come before the first write of what it has read. That spares looking at it until then.
    fn wait_for_makers(&self, entries: &mut [Entry]) {
        let mut made_from = vec![u64::MAX; self.values.count()];
        for entry in entries.iter() {
            if let Some(value) = entry.becomes {
                made_from[value.index()] = entry.earliest.min(made_from[value.index()]);
            }
        }
        made_from[Value::ABSENT.index()] = 0;
        for (from, _) in made_from.iter_mut().zip(&self.doubtful).filter(|(_, doubtful)| **doubtful) {
            *from = 0;
        }
        for entry in entries.iter_mut() {
            if let (Need::Is(value), None) = (entry.need, entry.becomes) {
                entry.earliest = entry.earliest.max(made_from[value.index()]).min(entry.latest);
            }
        }
    }

    /// Puts the entries in their order, guards before what they guard.
    fn sort(&mut self, entries: &[Entry], guards: &Guards) {
        let mut rank = vec![0_u32; entries.len()];
        for (number, &entry) in (0..).zip(&guards.order) {
            rank[entry as usize] = number;
        }
        let mut order = guards.order.clone();
        order.sort_unstable_by_key(|&entry| (entries[entry as usize].earliest, rank[entry as usize]));
        let mut moved = vec![0_u32; entries.len()];
        for (new, &old) in (0..).zip(&order) {
            moved[old as usize] = new;
        }
        let index = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        for &old in &order {
            let begin = index(self.guards.len());
            self.guards.extend(guards.of(old as usize).iter().map(|&guard| moved[guard as usize]));
            self.entries.push(Entry { guards: (begin, index(self.guards.len())), ..entries[old as usize] });
        }
        for &guard in &self.guards {
            self.entries[guard as usize].is_guard = true;
        }
    }
}

impl Entry {
    /// Whether it leaves everything as it is, whatever that is.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.becomes.is_none() || self.reads().is_some()
    }

    /// The value it must find, if it leaves it as it is.
    pub(crate) fn reads(&self) -> Option<Value> {
        match self.need {
            Need::Is(value) if self.becomes.is_none_or(|becomes| becomes == value) => Some(value),
            _ => None,
        }
    }
}

/// The earliest moment at which the operation may take its place, as far as its own promise says.
fn earliest(operation: &Operation) -> u64 {
    match operation.policy {
        _ if operation.is_strict() => operation.start,
        Policy::Bounded(bound) => operation.start.saturating_sub(bound),
        Policy::Linearizable | Policy::Session | Policy::Any => 0,
    }
}

type Answered<'a> = (Need<Content<'a>>, Option<Content<'a>>);
type Possible<'a> = (Need<Content<'a>>, Change<Content<'a>>);

/// Every value that some operation needs to find or not to find.
fn tell_apart<'a>(
    answers: impl Iterator<Item = (u32, &'a Operation, Answered<'a>)>,
    doubts: impl Iterator<Item = (u32, u64, Possible<'a>)>,
) -> Option<Values<'a>> {
    let mut values = Values::new();
    for (_, _, (need, _)) in answers {
        need.map(|content| values.tell(content));
    }
    let (mut steps, mut times) = (Vec::new(), 0);
    for (_, _, (need, change)) in doubts {
        need.map(|content| values.tell(content));
        if let Change::Adds(by) = change {
            steps.push(by);
            times += 1;
        }
    }
    if steps.is_empty() {
        return Some(values);
    }
    steps.sort_unstable();
    steps.dedup();
    values.close_under(&steps, times).then_some(values)
}
