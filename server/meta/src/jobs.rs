//! Jobs: orders of operators that outlive every process.
//!
//! Jobs are numbered. Whoever asks for one compares it with all there are and takes the next number; of two at once, one has to look
//! again. So no two jobs ever pull at one slot.

use simplekv_types::{JobRecord, Revision};

use crate::record::encode;
use crate::{Cas, Compare, Key, Office, RecordError, Records, Txn, TxnOutcome, Versioned, decode};

/// So many jobs that have ended are kept to be looked up.
const ENDED_MAX: usize = 32;

/// A job's name begins with this; its number follows.
const PREFIX: &str = "j";

/// All jobs there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Jobs {
    /// In the order of their numbers.
    pub jobs: Vec<(String, Versioned<JobRecord>)>,
}

impl Jobs {
    /// A job by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Versioned<JobRecord>> {
        self.jobs.iter().find(|(other, _)| other == name).map(|(_, job)| job)
    }

    fn next_number(&self) -> u64 {
        self.jobs.iter().filter_map(|(name, _)| number(name)).max().map_or(1, |last| last + 1)
    }
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

impl Records {
    /// All jobs.
    ///
    /// # Errors
    /// [`RecordError::Store`] or [`RecordError::Corrupt`].
    pub async fn jobs(&self) -> Result<Jobs, RecordError> {
        let listing = self.store().list(&self.keys().jobs()).await?;
        let mut jobs = Vec::new();
        for entry in &listing.entries {
            if let Ok(Key::Job(name)) = self.keys().parse(&entry.key) {
                jobs.push((name, Versioned::decode(entry)?));
            }
        }
        jobs.sort_by_key(|(name, _)| number(name));
        Ok(Jobs { jobs })
    }

    /// Takes up a job beside those that are known, and forgets the oldest that have ended. Returns its name; `None` if another job came
    /// first, and has to be looked at.
    ///
    /// # Errors
    /// [`RecordError::Store`]. If the outcome is unknown, the list of jobs tells.
    pub async fn create_job(&self, known: &Jobs, job: &JobRecord) -> Result<Option<String>, RecordError> {
        let name = format!("{PREFIX}{}", known.next_number());
        let key = self.key(&Key::Job(name.clone()));
        let ended: Vec<_> = known.jobs.iter().filter(|(_, job)| job.record.end.is_some()).collect();
        let forgotten = ended.iter().take(ended.len().saturating_sub(ENDED_MAX - 1));
        let mut txn = Txn::new().when(Compare::missing(&key)).put(key, encode(job));
        for (name, _) in forgotten {
            txn = txn.delete(self.key(&Key::Job(name.clone())));
        }
        match self.store().txn(txn).await? {
            TxnOutcome::Succeeded { .. } => Ok(Some(name)),
            TxnOutcome::Lost(_) => Ok(None),
        }
    }

    /// Changes a job that is as it was when it was read. `office`: the controller's, if it is the controller who does so.
    ///
    /// # Errors
    /// [`RecordError::Store`], or [`RecordError::Corrupt`] if the change was lost to a record that cannot be read.
    pub async fn change_job(
        &self,
        name: &str,
        expected: Revision,
        job: &JobRecord,
        office: Option<&Office>,
    ) -> Result<Cas<Option<JobRecord>>, RecordError> {
        let key = self.key(&Key::Job(name.to_owned()));
        let txn = Txn::new()
            .when(Compare::modified(&key, expected))
            .when_all(office.iter().map(|office| self.holds(office)))
            .put(&key, encode(job));
        match self.store().txn(txn).await? {
            TxnOutcome::Succeeded { revision } => Ok(Cas::Done { revision }),
            TxnOutcome::Lost(lost) => Ok(Cas::Lost(lost.entry(&key).map(decode).transpose()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use simplekv_types::{GroupId, JobEnd, JobPart};

    use super::*;
    use crate::{EmbeddedOptions, EmbeddedStore, Keys};

    fn records() -> Records {
        let store = EmbeddedStore::in_memory(EmbeddedOptions::default());
        Records::new(Arc::new(store), Keys::default())
    }

    fn job(asked: &str) -> JobRecord {
        JobRecord {
            asked: asked.to_owned(),
            parts: vec![JobPart { slots: vec!["0-9".parse().unwrap()], target: GroupId(2) }],
            remove: None,
            begun_ms: 0,
            paused: false,
            cancelled: false,
            end: None,
        }
    }

    #[tokio::test]
    async fn of_two_jobs_at_once_one_has_to_look_again() {
        let records = records();
        let known = records.jobs().await.unwrap();
        assert_eq!(records.create_job(&known, &job("one")).await.unwrap().as_deref(), Some("j1"));
        assert_eq!(records.create_job(&known, &job("other")).await.unwrap(), None);
        let known = records.jobs().await.unwrap();
        assert_eq!(records.create_job(&known, &job("other")).await.unwrap().as_deref(), Some("j2"));
        let found = known.get("j1").unwrap();
        let paused = JobRecord { paused: true, ..found.record.clone() };
        assert!(matches!(records.change_job("j1", found.modified, &paused, None).await, Ok(Cas::Done { .. })));
        let lost = records.change_job("j1", found.modified, &job("one"), None).await;
        assert_eq!(lost.unwrap(), Cas::Lost(Some(paused)));
    }

    #[tokio::test]
    async fn the_oldest_that_have_ended_are_forgotten() {
        let records = records();
        for _ in 0..ENDED_MAX + 5 {
            let known = records.jobs().await.unwrap();
            let end = Some(JobEnd { done: true, at_ms: 1, reason: String::new() });
            records.create_job(&known, &JobRecord { end, ..job("past") }).await.unwrap();
        }
        let known = records.jobs().await.unwrap();
        assert_eq!((known.jobs.len(), known.jobs[0].0.as_str()), (ENDED_MAX, "j6"));
    }
}
