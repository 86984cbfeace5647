//! What clients did and were told.

use std::collections::BTreeMap;

use simplekv_types::{GroupId, ReadPolicy};

use crate::clock::Nanos;

/// An operation, by its place in the history.
pub(crate) type OpId = usize;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Get {
        key: String,
    },
    /// `ttl`: milliseconds until it is gone again.
    Set {
        key: String,
        value: u64,
        ttl: Option<u64>,
    },
    SetNx {
        key: String,
        value: u64,
    },
    GetSet {
        key: String,
        value: u64,
    },
    Del {
        key: String,
    },
    Incr {
        key: String,
    },
}

impl Action {
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Get { key }
            | Self::Set { key, .. }
            | Self::SetNx { key, .. }
            | Self::GetSet { key, .. }
            | Self::Del { key }
            | Self::Incr { key } => key,
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. })
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A value was told, or that there is none.
    Value(Option<u64>),
    /// A number was told.
    Number(i64),
    Done,
    /// Certainly not done.
    Failed,
    /// Done, not done, or done later.
    Unknown,
}

/// One operation of one task.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    pub(crate) task: usize,
    pub(crate) action: Action,
    /// The group it is for.
    pub(crate) group: GroupId,
    pub(crate) policy: ReadPolicy,
    pub(crate) began: Nanos,
    pub(crate) ended: Option<(Nanos, End)>,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) operations: Vec<Operation>,
    /// When a group first began another history: what clients were told before may be lost from then on.
    pub(crate) judged_until: BTreeMap<GroupId, Nanos>,
    next_value: u64,
}

impl History {
    /// A value that was never written.
    pub(crate) fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    pub(crate) fn begin(&mut self, operation: Operation) -> OpId {
        self.operations.push(operation);
        self.operations.len() - 1
    }

    /// Whether it was done, and its result told.
    pub(crate) fn is_done(&self, id: OpId) -> bool {
        let end = self.operations.get(id).and_then(|operation| operation.ended.as_ref());
        end.is_some_and(|(_, end)| !matches!(end, End::Failed | End::Unknown))
    }

    pub(crate) fn end(&mut self, id: OpId, now: Nanos, end: End) {
        if let Some(operation) = self.operations.get_mut(id) {
            operation.ended = Some((now, end));
        }
    }
}
