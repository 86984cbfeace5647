//! What a metadata store does, without time, disk or concurrency.
//!
//! The one place that says what a revision is. [`EmbeddedStore`](crate::EmbeddedStore) puts time and a file around it; a simulator
//! may put faults around it. The conformance suite holds it against etcd.

use std::collections::BTreeMap;
use std::sync::Arc;

use simplekv_types::Revision;

use crate::{Change, Entry, Listing, Lost, MetaError, Op, SessionId, Txn, TxnOutcome};

/// Keys with revisions, and the sessions some of them live in.
///
/// Cheap enough to clone: a change is made to a copy, which replaces the original once it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Revision of the last change. Invariant: at least that of every entry.
    revision: Revision,
    keys: BTreeMap<String, Arc<Entry>>,
    /// Open sessions with the keys they hold. Invariant: a key is listed here iff its entry names the session.
    sessions: BTreeMap<SessionId, Vec<String>>,
    /// Greatest session ever opened: names are not used twice.
    last_session: SessionId,
}

impl Default for Model {
    /// Empty, at revision 1 as a new etcd.
    fn default() -> Self {
        Self { revision: Revision(1), keys: BTreeMap::new(), sessions: BTreeMap::new(), last_session: SessionId(0) }
    }
}

impl Model {
    /// A store as it was saved, without sessions: whoever held one is gone.
    ///
    /// # Errors
    /// The reason, if the parts contradict each other.
    pub(crate) fn restore(revision: Revision, last_session: SessionId, entries: Vec<Entry>) -> Result<Self, String> {
        let mut model = Self { revision, last_session, ..Self::default() };
        for entry in entries {
            if entry.created.0 == 0 || entry.created > entry.modified || entry.modified > revision {
                let Entry { key, created, modified, .. } = entry;
                return Err(format!("`{key}` is of revisions {created} to {modified}, the store of {revision}"));
            }
            if let Some(session) = entry.session {
                if session > last_session {
                    return Err(format!("`{}` is held by session {session}, which was never opened", entry.key));
                }
                model.sessions.entry(session).or_default().push(entry.key.clone());
            }
            let key = entry.key.clone();
            if model.keys.insert(key, Arc::new(entry)).is_some() {
                return Err("a key occurs twice".to_owned());
            }
        }
        Ok(model)
    }

    /// Revision of the last change, 1 if there never was one.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.keys.get(key).map(|entry| Entry::clone(entry))
    }

    /// The entries whose keys begin with `prefix`.
    #[must_use]
    pub fn list(&self, prefix: &str) -> Listing {
        let entries = self
            .keys
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| Entry::clone(entry))
            .collect();
        Listing { entries, revision: self.revision }
    }

    /// Executes a transaction. The changes, if any, are those of the revision that is then current.
    ///
    /// # Errors
    /// [`MetaError::Invalid`] or [`MetaError::SessionLost`]; nothing was changed.
    pub fn txn(&mut self, txn: &Txn) -> Result<(TxnOutcome, Vec<Change>), MetaError> {
        txn.check()?;
        if !txn.compares.iter().all(|compare| compare.holds(self.keys.get(compare.key()).map(Arc::as_ref))) {
            return Ok((TxnOutcome::Lost(self.lost(txn)), Vec::new()));
        }
        for op in &txn.ops {
            if let Op::Put { session: Some(session), .. } = op
                && !self.sessions.contains_key(session)
            {
                return Err(MetaError::SessionLost { session: *session });
            }
        }
        let next = Revision(self.revision.0 + 1);
        let changes: Vec<Change> = txn.ops.iter().filter_map(|op| self.change(op, next)).collect();
        self.advance(&changes);
        Ok((TxnOutcome::Succeeded { revision: self.revision }, changes))
    }

    /// Opens a session. Not a change: sessions have no revision.
    pub fn open_session(&mut self) -> SessionId {
        self.last_session = SessionId(self.last_session.0 + 1);
        self.sessions.insert(self.last_session, Vec::new());
        self.last_session
    }

    /// Whether the session is open.
    #[must_use]
    pub fn has_session(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Every open session.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    /// Ends a session: all its keys go, at one revision. No change if it is not open or holds no key.
    pub fn end_session(&mut self, session: SessionId) -> Vec<Change> {
        let keys = self.sessions.remove(&session).unwrap_or_default();
        let changes: Vec<Change> =
            keys.into_iter().filter_map(|key| self.keys.remove(&key).map(|_| Change::Delete { key })).collect();
        self.advance(&changes);
        changes
    }

    /// Greatest session ever opened.
    pub(crate) fn last_session(&self) -> SessionId {
        self.last_session
    }

    fn lost(&self, txn: &Txn) -> Lost {
        let mut current: Vec<Entry> = txn.compares.iter().filter_map(|compare| self.get(compare.key())).collect();
        current.sort_by(|a, b| a.key.cmp(&b.key));
        current.dedup_by(|a, b| a.key == b.key);
        Lost { current, revision: self.revision }
    }

    fn change(&mut self, op: &Op, revision: Revision) -> Option<Change> {
        match op {
            Op::Put { key, value, session } => {
                let created = self.release(key).map_or(revision, |old| old.created);
                let entry =
                    Entry { key: key.clone(), value: value.clone(), created, modified: revision, session: *session };
                if let Some(session) = session {
                    self.sessions.entry(*session).or_default().push(key.clone());
                }
                self.keys.insert(key.clone(), Arc::new(entry.clone()));
                Some(Change::Put(entry))
            }
            Op::Delete { key } => self.release(key).map(|_| Change::Delete { key: key.clone() }),
        }
    }

    /// Takes a key out, of its session too.
    fn release(&mut self, key: &str) -> Option<Arc<Entry>> {
        let entry = self.keys.remove(key)?;
        if let Some(held) = entry.session.and_then(|session| self.sessions.get_mut(&session)) {
            held.retain(|other| other != key);
        }
        Some(entry)
    }

    fn advance(&mut self, changes: &[Change]) {
        if !changes.is_empty() {
            self.revision = Revision(self.revision.0 + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compare;

    #[test]
    fn a_revision_is_shared_by_the_changes_of_one_transaction() {
        let mut model = Model::default();
        let (outcome, changes) = model.txn(&Txn::new().put("a", "1").put("b", "1")).unwrap();
        assert_eq!(outcome, TxnOutcome::Succeeded { revision: Revision(2) });
        assert_eq!(changes.len(), 2);
        model.txn(&Txn::new().put("a", "2")).unwrap();
        let a = model.get("a").unwrap();
        assert_eq!((a.created, a.modified), (Revision(2), Revision(3)));
        assert_eq!(model.get("b").unwrap().modified, Revision(2));
    }

    #[test]
    fn nothing_changed_is_no_revision() {
        let mut model = Model::default();
        assert_eq!(model.txn(&Txn::new().delete("a")).unwrap().0, TxnOutcome::Succeeded { revision: Revision(1) });
        let session = model.open_session();
        assert!(model.end_session(session).is_empty());
        let lost = model.txn(&Txn::new().when(Compare::exists("a")).put("b", "")).unwrap().0;
        assert_eq!(lost, TxnOutcome::Lost(Lost { current: Vec::new(), revision: Revision(1) }));
    }

    #[test]
    fn a_put_without_its_session_keeps_the_key() {
        let mut model = Model::default();
        let session = model.open_session();
        model.txn(&Txn::new().put_in(session, "a", "").put_in(session, "b", "")).unwrap();
        model.txn(&Txn::new().put("a", "")).unwrap();
        assert_eq!(model.end_session(session), [Change::Delete { key: "b".to_owned() }]);
        assert_eq!(model.list("").entries.len(), 1);
        let late = model.txn(&Txn::new().put_in(session, "c", ""));
        assert_eq!(late, Err(MetaError::SessionLost { session }));
    }

    #[test]
    fn contradictory_saved_states_are_refused() {
        let entry = |key: &str, created, modified, session| Entry {
            key: key.to_owned(),
            value: bytes::Bytes::new(),
            created: Revision(created),
            modified: Revision(modified),
            session,
        };
        let restore = |entries| Model::restore(Revision(5), SessionId(1), entries);
        assert!(restore(vec![entry("a", 2, 5, Some(SessionId(1)))]).is_ok());
        assert!(restore(vec![entry("a", 0, 5, None)]).is_err());
        assert!(restore(vec![entry("a", 2, 6, None)]).is_err());
        assert!(restore(vec![entry("a", 2, 5, None), entry("a", 2, 5, None)]).is_err());
        assert!(restore(vec![entry("a", 2, 5, Some(SessionId(2)))]).is_err());
    }
}
