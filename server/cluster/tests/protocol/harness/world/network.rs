//! Messages on their way.

use super::*;

impl World {
    pub(crate) fn send(&mut self, envelope: Envelope) {
        self.sent.push(envelope.clone());
        if self.sent.len() > 2000 {
            self.sent.drain(..1000);
        }
        let (from, to) = (envelope.from.node.0, envelope.to.0);
        match envelope.message {
            Message::Revoke { id } => self.note(format!("{from}: asks {to} to give up its lease, attempt {id}")),
            Message::RevokeAck { id } => self.note(format!("{from}: gives up its lease, attempt {id}")),
            _ => (),
        }
        match self.link(envelope.from.node, envelope.to) {
            Link::Cut => return,
            Link::Held => return self.held.push(envelope),
            Link::Up => (),
        }
        if self.chance(self.faults.drop) {
            return;
        }
        let delay = if self.chance(self.faults.delay) { self.around(ms(200)) } else { self.around(ms(1)) };
        if self.chance(self.faults.duplicate) {
            let again = self.around(ms(300));
            self.schedule(self.now + again, Happening::Deliver(envelope.clone()));
        }
        self.schedule(self.now + delay, Happening::Deliver(envelope));
    }

    pub(crate) fn deliver_now(&mut self, envelope: Envelope) {
        self.happen(Happening::Deliver(envelope));
    }

    pub(crate) fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(Link::Up)
    }

    pub(crate) fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.links.insert((from, to), link);
        if link == Link::Up {
            let (free, held) =
                std::mem::take(&mut self.held).into_iter().partition(|m| m.from.node == from && m.to == to);
            self.held = held;
            let free: Vec<Envelope> = free;
            for envelope in free {
                self.schedule(self.now, Happening::Deliver(envelope));
            }
        }
    }

    pub(crate) fn heal_links(&mut self) {
        let all: Vec<_> = self.links.keys().copied().collect();
        for (from, to) in all {
            self.set_link(from, to, Link::Up);
        }
    }
}
