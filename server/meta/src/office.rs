//! Who is the controller.
//!
//! One key in a session. Sessions end early and late, so holding the office proves nothing; what keeps two controllers apart is
//! that every transaction of one names the revision its key was created at.

use std::time::Duration;

use simplekv_types::Revision;

use crate::backoff::delays;
use crate::record::encode;
use crate::{
    Compare, ControllerRecord, Entry, Key, MetaError, RecordError, Records, Session, Txn, TxnOutcome, Versioned,
    WatchEvent, decode,
};

/// Without a word from the watch the office is looked at this often: watches lose events.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The controller's office as won in one campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Office {
    /// Revision at which the office's key was created.
    pub created: Revision,
}

/// The end of a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Campaign {
    /// The office is ours.
    Elected(Office),
    /// Somebody holds it.
    Held {
        /// Revision at which the holder was elected.
        created: Revision,
        /// The holder; `None` if its record cannot be read.
        holder: Option<ControllerRecord>,
        /// Revision this was read at: a watch after it sees the office become vacant.
        seen: Revision,
    },
}

impl Records {
    /// The condition that `office` is still held, for the controller's transactions.
    #[must_use]
    pub fn holds(&self, office: &Office) -> Compare {
        Compare::created(self.key(&Key::Controller), office.created)
    }

    /// Who holds the office.
    ///
    /// # Errors
    /// [`RecordError::Store`] or [`RecordError::Corrupt`].
    pub async fn controller(&self) -> Result<Option<Versioned<ControllerRecord>>, RecordError> {
        self.read(&Key::Controller).await
    }

    /// Tries once to take the office, for as long as the session lives.
    ///
    /// # Errors
    /// [`RecordError::Store`]. An unknown outcome was tried to resolve by reading; if that failed too, the office may be ours
    /// without our knowing, and campaigning again with the same session finds out.
    pub async fn campaign(&self, session: &Session, candidate: &ControllerRecord) -> Result<Campaign, RecordError> {
        let key = self.key(&Key::Controller);
        let txn = Txn::new().when(Compare::missing(&key)).put_in(session.id(), &key, encode(candidate));
        match self.store().txn(txn).await {
            Ok(TxnOutcome::Succeeded { revision }) => Ok(Campaign::Elected(Office { created: revision })),
            Ok(TxnOutcome::Lost(lost)) => {
                let holder = lost.entry(&key).ok_or(RecordError::Store(vanished()))?;
                Ok(result_of(holder, session, candidate, lost.revision))
            }
            Err(MetaError::Unknown { reason }) => {
                let entry = self.store().get(&key).await?;
                // Nobody there now does not mean that our put will not yet arrive.
                let holder = entry.ok_or(MetaError::Unknown { reason })?;
                Ok(result_of(&holder, session, candidate, holder.modified))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the office as soon as nobody else holds it. Waits through outages of the store.
    ///
    /// # Errors
    /// [`MetaError::SessionLost`] once the session is lost, [`MetaError::Invalid`] if the store refuses.
    pub async fn await_office(&self, session: &Session, candidate: &ControllerRecord) -> Result<Office, RecordError> {
        let mut backoff = delays();
        loop {
            match self.campaign(session, candidate).await {
                Ok(Campaign::Elected(office)) => return Ok(office),
                Ok(Campaign::Held { seen, .. }) => {
                    backoff = delays();
                    self.vacancy(seen, session).await?;
                }
                Err(RecordError::Store(MetaError::Unavailable { .. } | MetaError::Unknown { .. })) => {
                    unless_lost(session, tokio::time::sleep(backoff.next_delay())).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the office up. No effect if it is not held any more.
    ///
    /// # Errors
    /// [`RecordError::Store`]; the office then ends with its session.
    pub async fn resign(&self, office: &Office) -> Result<(), RecordError> {
        self.store().txn(Txn::new().when(self.holds(office)).delete(self.key(&Key::Controller))).await?;
        Ok(())
    }

    /// Waits until the office may be vacant.
    async fn vacancy(&self, held_at: Revision, session: &Session) -> Result<(), RecordError> {
        let mut watch = self.store().watch(&self.key(&Key::Controller), held_at);
        let changed = async {
            while let Some(WatchEvent::Progress { .. } | WatchEvent::Interrupted { .. }) = watch.next().await {}
        };
        // Whether it changed or time is up: the next campaign tells.
        unless_lost(session, tokio::time::timeout(LOOK_AGAIN, changed)).await.map(drop)
    }
}

/// A store that says "exists" and shows nothing contradicts itself; whatever it means, we are not elected.
fn vanished() -> MetaError {
    MetaError::Unavailable { reason: "the office is neither vacant nor held".to_owned() }
}

fn result_of(holder: &Entry, session: &Session, candidate: &ControllerRecord, seen: Revision) -> Campaign {
    let record = decode::<ControllerRecord>(holder).ok();
    if holder.session == Some(session.id()) && record.as_ref() == Some(candidate) {
        return Campaign::Elected(Office { created: holder.created });
    }
    Campaign::Held { created: holder.created, holder: record, seen }
}

async fn unless_lost<T>(session: &Session, future: impl Future<Output = T>) -> Result<T, RecordError> {
    tokio::select! {
        done = future => Ok(done),
        () = session.lost() => Err(MetaError::SessionLost { session: session.id() }.into()),
    }
}
