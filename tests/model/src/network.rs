//! Messages on their way.
//!
//! The core expects nothing of its transport: what it sends may be lost, delayed, doubled and reordered. On each link the last few
//! messages are on their way. Any of them may arrive next; one that never does is lost, and so is the oldest when there is no room.

use simplekv_types::peer::{Envelope, Message};
use simplekv_types::{Epoch, NodeId};

use crate::shared::Shared;

/// All links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    /// What is on its way, by sender and receiver, oldest first. Only links with something on them.
    links: Vec<(NodeId, NodeId, Vec<Shared<Envelope>>)>,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self { links: Vec::new() }
    }

    /// Sends a message over a link that holds so many.
    pub(crate) fn send(&mut self, envelope: Envelope, room: usize) {
        let (from, to) = (envelope.from.node, envelope.to);
        let envelope = Shared::new(envelope);
        let at = self.links.partition_point(|(f, t, _)| (*f, *t) < (from, to));
        match self.links.get_mut(at).filter(|(f, t, _)| (*f, *t) == (from, to)) {
            None => self.links.insert(at, (from, to, vec![envelope])),
            Some((_, _, queue)) => {
                if queue.contains(&envelope) {
                    return;
                }
                if queue.len() == room {
                    queue.remove(0);
                }
                queue.push(envelope);
            }
        }
    }

    /// Each message with its link and its place there, and whether the link is full.
    pub(crate) fn on_their_way(&self, room: usize) -> impl Iterator<Item = (NodeId, NodeId, usize, bool)> {
        self.links.iter().flat_map(move |(from, to, queue)| {
            let full = queue.len() == room;
            (0..queue.len()).map(move |place| (*from, *to, place, full))
        })
    }

    /// What stands at this place of a link.
    pub(crate) fn look(&self, from: NodeId, to: NodeId, place: usize) -> Option<&Envelope> {
        let (_, _, queue) = self.links.iter().find(|(f, t, _)| (*f, *t) == (from, to))?;
        queue.get(place).map(|envelope| &**envelope)
    }

    /// Takes a message from its link. On a link that keeps the order, whatever was sent before it is lost.
    pub(crate) fn take(&mut self, from: NodeId, to: NodeId, place: usize, in_order: bool) -> Option<Shared<Envelope>> {
        let at = self.links.iter().position(|(f, t, _)| (*f, *t) == (from, to))?;
        let (_, _, queue) = self.links.get_mut(at)?;
        if place >= queue.len() {
            return None;
        }
        let envelope = queue.remove(place);
        if in_order {
            queue.drain(..place);
        }
        if queue.is_empty() {
            self.links.remove(at);
        }
        Some(envelope)
    }

    /// Forgets what the receiver will drop unread: answers to leaders of epochs before its own.
    pub(crate) fn forget_answers(&mut self, to: NodeId, before: Epoch) {
        let is_answer = |message: &Message| {
            matches!(
                message,
                Message::AppendAck(_) | Message::RevokeAck { .. } | Message::EpochAck { .. } | Message::Suspect { .. }
            )
        };
        for (_, _, queue) in self.links.iter_mut().filter(|(_, t, _)| *t == to) {
            queue.retain(|envelope| envelope.epoch >= before || !is_answer(&envelope.message));
        }
        self.links.retain(|(_, _, queue)| !queue.is_empty());
    }
}
