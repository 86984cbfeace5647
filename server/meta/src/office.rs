//! Who is the controller.
//!
//! One key in a session. Sessions end early and late, so holding the office proves nothing; what keeps two controllers apart is
//! that every transaction of one names the revision its key was created at.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use simplekv_types::{NodeId, Revision};
use tokio::sync::watch;

use crate::backoff::delays;
use crate::record::encode;
use crate::{
    ClusterView, Compare, ControllerRecord, Entry, Key, MetaError, RecordError, Records, Session, Txn, TxnOutcome,
    Versioned, decode,
};

/// How much later than the one before it, in the order of nodes, a candidate asks for an office that has become vacant.
const STAGGER: Duration = Duration::from_millis(1);

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
        /// Revision this was read at: later ones show the office become vacant.
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

    /// Takes the office as soon as nobody else holds it, which `views` tell. Waits through outages of the store.
    ///
    /// # Errors
    /// [`MetaError::SessionLost`] once the session is lost, [`MetaError::Invalid`] if the store refuses.
    pub async fn await_office(
        &self,
        session: &Session,
        candidate: &ControllerRecord,
        views: &mut watch::Receiver<Arc<ClusterView>>,
    ) -> Result<Office, RecordError> {
        let mut backoff = delays();
        loop {
            match self.campaign(session, candidate).await {
                Ok(Campaign::Elected(office)) => return Ok(office),
                Ok(Campaign::Held { seen, .. }) => {
                    backoff = delays();
                    unless_lost(session, vacancy(seen, candidate.node, views)).await?;
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
}

/// Waits until the office may be vacant, by what the node is told anyhow. All nodes of a cluster wait here: a watch of its own for each,
/// and a look every few seconds, would be more than everything else that thousands of them ask of the store.
async fn vacancy(held_at: Revision, candidate: NodeId, views: &mut watch::Receiver<Arc<ClusterView>>) {
    let is_vacant = |view: &ClusterView| view.revision > held_at && view.controller.is_none();
    loop {
        let before_us = views.wait_for(|view| is_vacant(view)).await.map(|view| view.live.range(..candidate).count());
        let Ok(before_us) = before_us else { return pending().await };
        tokio::time::sleep(STAGGER * u32::try_from(before_us).unwrap_or(u32::MAX)).await;
        if is_vacant(&views.borrow()) {
            return; // whether it is, the next campaign tells
        }
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
