//! What moves of slots want of the metadata store, of each other, and of the log.

use simplekv_cluster::migration::{MoveEvent, MoveMessage, MoveOutcome, MoveRequest};
use simplekv_server::group::MoveOutput;

use super::metadata::{Fate, STORE_TIMEOUT};
use super::*;

impl World {
    pub(super) fn tell_move(&mut self, id: NodeId, run: RunId, group: GroupId, event: MoveEvent) {
        self.step(id, run, group, |hosted, clock| hosted.group.step_moves(&clock, event));
    }

    pub(super) fn start_move(&mut self, id: NodeId, run: RunId, group: GroupId, wanted: MoveOutput) {
        match wanted {
            MoveOutput::Send { to, message } => {
                let Some(leader) = self.store.group(to).0.leader else { return };
                self.counts.messages += 1;
                self.send(Place::Node(id), Place::Node(leader.node), || Happening::DeliverMove {
                    node: leader.node,
                    group: to,
                    message: message.clone(),
                });
            }
            MoveOutput::Metadata { id: request, request: ask } => self.ask_move(id, run, group, request, ask),
            MoveOutput::Read { migration, pull, read } => {
                let found = read.run().expect("what is not damaged can be read");
                let event = MoveEvent::Read { migration, pull, found };
                let after = self.rng.below(ms(2));
                self.schedule(after, Happening::TellMove { node: id, run, group, event });
            }
            MoveOutput::Alarm(alarm) => self.note(|| format!("{id}: {group} {alarm:?}")),
        }
    }

    pub(super) fn deliver_move(&mut self, id: NodeId, group: GroupId, message: MoveMessage) {
        let Some(run) = self.machines.get(&id).and_then(Machine::run) else { return };
        self.tell_move(id, run, group, MoveEvent::Received(message));
    }

    fn ask_move(&mut self, node: NodeId, run: RunId, group: GroupId, id: RequestId, request: MoveRequest) {
        let asker = Asker::Replica { node, run, group };
        let soon = self.rng.range(ms(1), ms(8));
        let unknown = match request {
            MoveRequest::Change(_) => MoveOutcome::Unknown,
            MoveRequest::Read(_) | MoveRequest::ReadAll => MoveOutcome::Failed,
        };
        let execute = |answer| Happening::ExecuteMove { node, run, group, id, request: request.clone(), answer };
        let (told, done) = match self.fate(asker) {
            Fate::Done => (None, Some((soon, execute(true)))),
            Fate::ReplyLost => (Some((STORE_TIMEOUT, unknown)), Some((soon, execute(false)))),
            Fate::RequestLost => (Some((STORE_TIMEOUT, unknown)), None),
            Fate::Refused => (Some((soon, MoveOutcome::Failed)), None),
            Fate::Late => {
                let late = STORE_TIMEOUT + self.rng.below(ms(2500));
                (Some((STORE_TIMEOUT, unknown)), Some((late, execute(false))))
            }
        };
        if let Some((after, outcome)) = told {
            let event = MoveEvent::Answered { id, outcome };
            self.schedule(after, Happening::TellMove { node, run, group, event });
        }
        if let Some((after, execution)) = done {
            self.schedule(after, execution);
        }
    }

    pub(super) fn execute_move(
        &mut self,
        node: NodeId,
        run: RunId,
        group: GroupId,
        id: RequestId,
        request: MoveRequest,
        answer: bool,
    ) {
        let outcome = self.store.ask_move(request);
        if answer {
            let after = self.rng.range(40_000, ms(2));
            let event = MoveEvent::Answered { id, outcome };
            self.schedule(after, Happening::TellMove { node, run, group, event });
        }
    }
}
