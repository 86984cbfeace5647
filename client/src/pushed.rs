//! What nodes have pushed of the topology. Differences are told to that, never to what redirects have made of it.

use crate::topology::Topology;
use crate::transport::Update;

/// The topology pushed last.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    latest: Option<Topology>,
}

/// A difference to a topology that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node told the difference to version {since} of the topology, which is not here")]
pub(crate) struct Unrelated {
    since: u64,
}

impl Pushed {
    /// A topology that a node told without being watched, before any was.
    pub(crate) fn begin(&mut self, topology: &Topology) {
        self.latest = Some(topology.clone());
    }

    /// Which version a watch that begins is told the differences to, if the node has the same; 0 if everything is to be told.
    pub(crate) fn version(&self) -> u64 {
        self.latest.as_ref().map_or(0, Topology::version)
    }

    /// The topology after an update, if it changed.
    ///
    /// # Errors
    /// [`Unrelated`]; the next watch is told everything.
    pub(crate) fn take(&mut self, update: Update) -> Result<Option<Topology>, Unrelated> {
        let next = match update {
            Update::Unchanged => return Ok(None),
            Update::Changed(topology) => topology,
            Update::Differs(difference) => {
                let since = difference.since;
                // Taken: if it does not fit, nothing told here is to be relied on.
                let latest = self.latest.take();
                latest.and_then(|latest| latest.changed_by(difference)).ok_or(Unrelated { since })?
            }
        };
        Ok(Some(self.latest.insert(next).clone()))
    }
}

#[cfg(test)]
mod tests {
    use simplekv_types::{ClusterId, SlotMapVersion};

    use super::*;
    use crate::topology::Difference;
    use crate::topology::tests::two_groups;

    fn difference(since: u64) -> Update {
        Update::Differs(Difference {
            cluster: ClusterId(1),
            since,
            version: since + 1,
            slot_map_version: SlotMapVersion(since + 1),
            slots: Vec::new(),
            groups: Vec::new(),
            gone_groups: Vec::new(),
            nodes: Vec::new(),
            gone_nodes: Vec::new(),
        })
    }

    #[test]
    fn after_a_difference_that_does_not_fit_everything_is_asked_for() {
        let mut pushed = Pushed::default();
        assert_eq!(pushed.take(difference(5)).unwrap_err(), Unrelated { since: 5 }, "nothing was pushed before");
        pushed.take(Update::Changed(two_groups(5))).unwrap();
        assert_eq!(pushed.take(difference(5)).unwrap().map(|topology| topology.version()), Some(6));
        assert!(pushed.take(Update::Unchanged).unwrap().is_none());
        assert_eq!(pushed.version(), 6);
        assert!(pushed.take(difference(5)).is_err(), "told twice");
        assert_eq!(pushed.version(), 0);
    }
}
