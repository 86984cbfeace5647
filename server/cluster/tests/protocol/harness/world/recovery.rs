//! What becomes of a group whose in-sync replicas have all lost data.

use super::*;

impl World {
    /// What is left of the group, as far as its nodes answer.
    pub(crate) fn remains(&self) -> BTreeMap<NodeId, Remains> {
        let each = self.metadata.facts().into_iter().map(|facts| {
            let registration = &self.metadata.registrations[&facts.node];
            let replica = self.process(facts.node).map(|process| process.replica.traces());
            (facts.node, Remains { facts, previous: registration.record.prev_storages.clone(), replica })
        });
        each.collect()
    }

    /// An operator decides how the group goes on. Returns whether it does.
    pub(crate) fn recover(&mut self, wish: &Wish) -> bool {
        let (record, revision) = self.metadata.read();
        match recover(&record, revision, &self.remains(), wish) {
            Ok(Recovery { chosen, change, .. }) => {
                self.note(format!("operator: goes on with {}", name(chosen)));
                let outcome = self.metadata.change(&change);
                assert!(matches!(outcome, MetadataOutcome::Succeeded { .. }), "nothing happens in between");
                self.on_record_changed(record.lineage);
                true
            }
            Err(obstacle) => {
                self.note(format!("operator: refused: {obstacle:?}"));
                false
            }
        }
    }

    /// The group's record was changed; its lineage was this one before.
    pub(super) fn on_record_changed(&mut self, before: Lineage) {
        let record = &self.metadata.record;
        self.trace.push(format!("metadata: {}", super::store::describe(record)));
        if record.lineage > before {
            let chosen = record.in_sync[0].node;
            let lost = self.oracle.begin_anew(record.lineage, &self.nodes[&chosen].disk);
            self.trace.push(format!("lost for good: writes {lost:?}"));
        }
        self.check_in_sync_holds_committed();
        self.publish_record();
    }

    /// A replica that has no part in the group's history is put away, and a new one begun.
    pub(super) fn rebuild(&mut self, id: NodeId, run: RunId, lineage: Lineage) {
        if self.run_of(id) != Some(run) {
            return;
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.disk.rebuild(lineage);
        let identity = Sender { node: id, storage: node.disk.identity.storage, run };
        self.trace.push(format!("{}: begins anew in lineage {lineage}", id.0));
        self.open(id, identity);
    }
}
