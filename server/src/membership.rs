//! A node's place in the cluster: who it is, that it is alive, and which groups it hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use simplekv_meta::{Cas, ClusterView, Freshness, RecordError, Records, Session};
use simplekv_types::peer::Sender;
use simplekv_types::{ClusterId, GroupId, Lineage, Member, NodeRecord, Registration, Revision, StorageId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::controller;
use crate::host::News;
use crate::identity::{self, DataDir, Identity, IdentityError};
use crate::replicas::{OpenFailure, Replicas};
use crate::shared::Shared;

/// How often a waiting node says what it waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a node needs to be a member of its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: DataDir,
    pub(crate) records: Records,
    pub(crate) replicas: Replicas,
    pub(crate) orders: controller::Orders,
}

/// Why a node cannot be a member any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Open(#[from] OpenFailure),
    #[error("the metadata store refuses this node's registration: {0}")]
    Refused(RecordError),
    #[error(
        "the metadata store was restored to an older state: revision {found} after {known} was seen; start the node again once the \
         store is as it shall be, then see `simplekv-admin status`"
    )]
    Regressed { known: Revision, found: Revision },
    #[error("another process has registered as {node} since: it now speaks for the node, this one must not")]
    Replaced { node: simplekv_types::NodeId },
    #[error("storage of {group} failed: {what}; started again, this node comes back as a new replica")]
    Storage { group: GroupId, what: String },
    #[error(
        "the replica of {group} cannot go on: {what}; nothing acknowledged was lost: remove the cause and start the node again"
    )]
    Replica { group: GroupId, what: String },
    #[error("{node} has less on disk than it had acknowledged; started again, it comes back as a new replica")]
    Distrusted { node: simplekv_types::NodeId },
}

impl Membership {
    /// Lives until stopped.
    pub(crate) async fn live(
        self,
        mut news: mpsc::UnboundedReceiver<News>,
        stopping: CancellationToken,
    ) -> Result<(), MembershipError> {
        let join = self.join();
        let me = tokio::select! {
            joined = join => joined?,
            () = stopping.cancelled() => return Ok(()),
        };
        let sessions = self.keep_session(me, stopping.clone());
        let hosting = self.host(me, &mut news, stopping.clone());
        tokio::select! {
            ended = hosting => ended,
            ended = sessions => ended,
        }
    }

    /// Finds out who this node is, and registers. A new node does so before there is a cluster, so that `init` knows it.
    async fn join(&self) -> Result<Joined, MembershipError> {
        let node = self.shared.node();
        let known = self.dir.read(node)?.and_then(|identity| identity.cluster);
        let view = self.view_when(|view| known.is_none() || view.cluster.is_some()).await?;
        let cluster = view.cluster.as_ref().map(|cluster| cluster.cluster);
        let (registration, identity) = loop {
            let registration = self.read_registration().await;
            let (this, view, known) = (self.clone(), Arc::clone(&view), registration.clone());
            let identity = blocking(move || this.settle_identity(cluster, &view, known.as_ref())).await?;
            match self.register(registration.as_ref(), &identity).await? {
                Some(registered) => break (registered, identity),
                // Somebody registered in between: look again.
                None => continue,
            }
        };
        let run = registration.run();
        let storage = identity.storage;
        self.dir.write(&identity.noted(run, self.shared.config().flush))?;
        self.shared.begin_run(run);
        let sender = Sender { node, storage, run };
        info!(%node, %storage, %run, "registered");
        Ok(Joined { sender, registration: registration.revision })
    }

    /// The cluster this node is now a member of; from now on its directory belongs to it.
    async fn cluster(&self) -> Result<ClusterId, MembershipError> {
        let view = self.view_when(|view| view.cluster.is_some()).await?;
        let cluster = view.cluster.as_ref().map(|cluster| cluster.cluster).expect("just waited for");
        if let Some(identity) = self.dir.read(self.shared.node())? {
            identity.check_cluster(&self.dir, cluster)?;
        }
        self.dir.change(self.shared.node(), |identity| identity.cluster.replace(cluster) != Some(cluster))?;
        Ok(cluster)
    }

    /// The metadata, once it is known and as wanted. Says every few seconds what is being waited for.
    async fn view_when(&self, wanted: impl Fn(&ClusterView) -> bool) -> Result<Arc<ClusterView>, MembershipError> {
        let mut told = tokio::time::interval_at(Instant::now() + PATIENCE, PATIENCE);
        let mut changes = self.shared.view_changes();
        loop {
            let view = Arc::clone(&changes.borrow_and_update());
            if let Freshness::Regressed { known, found } = view.freshness {
                return Err(MembershipError::Regressed { known, found });
            }
            if view.is_current() && wanted(&view) {
                return Ok(view);
            }
            tokio::select! {
                _ = changes.changed() => (),
                _ = told.tick() => match view.freshness {
                    Freshness::Current => info!("there is no cluster yet: create it with `simplekv-admin init`"),
                    _ => error!(endpoints = ?self.shared.config().etcd.endpoints, "the metadata store cannot be reached, trying on"),
                },
            }
        }
    }

    async fn read_registration(&self) -> Option<Registration> {
        let mut delays = delays();
        loop {
            match self.records.node(self.shared.node()).await {
                Ok(registration) => return registration,
                Err(failure) => warn!(error = %failure, "this node's registration cannot be read, trying on"),
            }
            tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(1))).await;
        }
    }

    /// Decides who this node is and prepares its directory for it. May be repeated, and may be cut off by a crash anywhere.
    fn settle_identity(
        &self,
        cluster: Option<ClusterId>,
        view: &ClusterView,
        registration: Option<&Registration>,
    ) -> Result<Identity, MembershipError> {
        let config = self.shared.config();
        let disk = self.dir.read(config.node)?;
        let groups = assigned(view, config.node);
        let damaged = match &disk {
            Some(disk) => match cluster {
                Some(cluster) => {
                    disk.check_cluster(&self.dir, cluster)?;
                    self.replicas.open_all(cluster, disk, &groups)?
                }
                None => Vec::new(),
            },
            None => Vec::new(),
        };
        let (identity, renewed) =
            identity::decide(config.node, config.flush, disk.clone(), registration, !damaged.is_empty());
        if let (Some(mine), Some(theirs)) = (disk.as_ref().and_then(|disk| disk.run), registration)
            && mine > theirs.run()
        {
            warn!(%mine, registered = %theirs.run(), "the metadata store has forgotten the last run of this node: it was restored from an older state");
        }
        if let Some(reason) = renewed {
            info!(?reason, storage = %identity.storage, "this node continues as a new replica");
            if let Some(cluster) = cluster {
                // The replicas are made over first. A crash in between must not bring the old incarnation back: it was promised
                // what is being moved away.
                if let Some(disk) = disk {
                    self.dir.write(&Identity { poisoned: true, clean: None, ..disk })?;
                }
                self.replicas.renew(cluster, identity.storage, &groups, &damaged)?;
            }
        }
        self.dir.write(&identity)?;
        Ok(identity)
    }

    /// Registers this run. `None` if another registration came first.
    async fn register(
        &self,
        before: Option<&Registration>,
        identity: &Identity,
    ) -> Result<Option<Registration>, MembershipError> {
        let config = self.shared.config();
        let record = NodeRecord {
            storage: identity.storage,
            run: None,
            nonce: identity.nonce(),
            prev_storages: identity.previous.clone(),
            poisoned: false,
            addresses: config.advertise.clone(),
            zone: config.zone.clone(),
            flush: config.flush,
        };
        let expected = before.map_or(Revision(0), |registration| registration.revision);
        let mut delays = delays();
        loop {
            match self.records.register(config.node, expected, &record).await {
                Ok(Cas::Done { revision }) => return Ok(Some(Registration { record, revision })),
                // An attempt whose answer was lost may have been ours: the nonce tells.
                Ok(Cas::Lost(Some(found))) if found.record.nonce == record.nonce => return Ok(Some(found)),
                Ok(Cas::Lost(_)) => return Ok(None),
                Err(RecordError::Store(failure)) if !matches!(failure, simplekv_meta::MetaError::Invalid { .. }) => {
                    warn!(error = %failure, "registering, trying on");
                }
                Err(failure) => return Err(MembershipError::Refused(failure)),
            }
            tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(1))).await;
        }
    }

    /// Keeps this run's sign of life, and stands for the controller's office, while the node lives.
    async fn keep_session(&self, me: Joined, stopping: CancellationToken) -> Result<(), MembershipError> {
        let ttl = self.shared.config().etcd.session_ttl;
        let mut delays = delays();
        while !stopping.is_cancelled() {
            let session = match self.records.store().open_session(ttl).await {
                Ok(session) => session,
                Err(failure) => {
                    warn!(error = %failure, "no session with the metadata store, trying on");
                    tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(1))).await;
                    continue;
                }
            };
            match self.records.announce(me.sender.node, me.sender.run, me.registration, session.id()).await {
                Ok(Cas::Done { .. }) => delays = self::delays(),
                Ok(Cas::Lost(_)) => return Err(MembershipError::Replaced { node: me.sender.node }),
                Err(failure) => {
                    warn!(error = %failure, "this node's sign of life was not written, trying on");
                    tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(1))).await;
                    continue;
                }
            }
            self.hold(me, session, &stopping).await;
        }
        Ok(())
    }

    /// Works with one session until it is lost.
    async fn hold(&self, me: Joined, session: Session, stopping: &CancellationToken) {
        let mut stalled = self.replicas.stalled();
        session.set_paused(*stalled.borrow_and_update());
        let lost = session.lost();
        let working = async {
            let office = controller::stand(
                Arc::clone(&self.shared),
                self.records.clone(),
                self.orders.clone(),
                me.sender,
                &session,
            );
            tokio::pin!(lost, office);
            loop {
                tokio::select! {
                    () = &mut lost => return,
                    // A campaign ends early only because the session did, or is about to.
                    () = &mut office => return (&mut lost).await,
                    // A leader whose disk hangs must not look alive.
                    changed = stalled.changed() => match changed {
                        Ok(()) => session.set_paused(*stalled.borrow_and_update()),
                        Err(_) => return,
                    },
                    () = stopping.cancelled() => return,
                }
            }
        };
        working.await;
        self.orders.close();
        if !stopping.is_cancelled() {
            return;
        }
        // Best effort: the keys vanish by themselves a little later.
        let _ = session.close().await;
    }

    /// Hosts what is assigned to this node, and listens to what the groups tell.
    async fn host(
        &self,
        me: Joined,
        news: &mut mpsc::UnboundedReceiver<News>,
        stopping: CancellationToken,
    ) -> Result<(), MembershipError> {
        let cluster = self.cluster().await?;
        let mut views = self.shared.view_changes();
        // Lineages that replicas here have heard of, which the view may not show yet.
        let mut begun: BTreeMap<GroupId, Lineage> = BTreeMap::new();
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            if let Freshness::Regressed { known, found } = view.freshness {
                return Err(MembershipError::Regressed { known, found });
            }
            if view.nodes.get(&me.sender.node).is_some_and(|found| me.is_distrusted(found)) {
                return Err(MembershipError::Distrusted { node: me.sender.node });
            }
            for group in assigned(&view, me.sender.node) {
                if self.shared.hosted(group).is_none() {
                    let shown = view.groups.get(&group).map(|found| found.record.lineage).unwrap_or_default();
                    let lineage = begun.get(&group).copied().unwrap_or_default().max(shown);
                    let this = self.clone();
                    blocking(move || this.prepare(cluster, me.sender.storage, group)).await?;
                    self.replicas.start(cluster, me.sender, group, lineage)?;
                }
            }
            self.replicas.tell_view(&view);
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return Ok(()) },
                told = news.recv() => match told {
                    None => return Ok(()),
                    Some(News::Failed { group, what, distrust: true }) => {
                        self.poison(me).await;
                        return Err(MembershipError::Storage { group, what });
                    }
                    Some(News::Failed { group, what, distrust: false }) => {
                        return Err(MembershipError::Replica { group, what });
                    }
                    Some(News::StorageLied { member }) => self.denounce(member),
                    Some(News::Rebuild { group, lineage }) => {
                        begun.insert(group, lineage);
                        self.put_away(group, lineage).await?;
                    }
                    Some(News::Stalled { group, stalled }) => self.replicas.note_stalled(group, stalled),
                    Some(News::RequestElection { group, epoch, unheard }) => {
                        controller::request_election(&self.shared, &self.orders, me.sender, group, epoch, unheard);
                    }
                },
                () = stopping.cancelled() => return Ok(()),
            }
        }
    }

    /// Makes sure that nobody ever trusts this storage again, before anything else is done. Returns only when that is certain.
    async fn poison(&self, me: Joined) {
        let mut marked = false;
        let mark = |identity: &mut Identity| {
            identity.poisoned = true;
            marked = true;
            true
        };
        if self.dir.change(me.sender.node, mark).is_ok() && marked {
            return;
        }
        // The disk does not even take the mark: the metadata store has to.
        let mut delays = delays();
        loop {
            if let Ok(Some(found)) = self.records.node(me.sender.node).await
                && (found.run() != me.sender.run || mark_poisoned(&self.records, me.sender.node, found).await)
            {
                return;
            }
            tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(1))).await;
        }
    }

    /// A replica led here had acknowledged more than it holds. Its group goes on without it; so that its node learns of it and comes
    /// back as another replica, its registration says so. Should this fail, the next leader finds out again.
    fn denounce(&self, member: Member) {
        let records = self.records.clone();
        tokio::spawn(async move {
            match records.node(member.node).await {
                Ok(Some(found)) if found.record.storage == member.storage && !found.record.poisoned => {
                    let told = mark_poisoned(&records, member.node, found).await;
                    warn!(%member, told, "this replica's storage has lost what it had acknowledged");
                }
                Ok(_) => (),
                Err(failure) => warn!(%member, error = %failure, "it cannot be told that its storage is not trusted"),
            }
        });
    }

    /// Ends a replica that has no part in its group's history any more. Its files are kept for whoever misses something in the new
    /// history; the group's next replica here begins with nothing.
    async fn put_away(&self, group: GroupId, lineage: Lineage) -> Result<(), MembershipError> {
        self.replicas.end(group).await;
        // In this order: a directory that is listed and not there would be taken for a loss.
        self.dir.change(self.shared.node(), |identity| identity.hosted.remove(&group))?;
        let replicas = self.replicas.clone();
        Ok(blocking(move || replicas.put_away(group, lineage)).await?)
    }

    /// Opens the replica of a group and remembers that there is one, before it acknowledges anything.
    fn prepare(&self, cluster: ClusterId, storage: StorageId, group: GroupId) -> Result<(), MembershipError> {
        let node = self.shared.node();
        let hosted = self.dir.read(node)?.is_some_and(|identity| identity.hosted.contains(&group));
        self.replicas.prepare(cluster, storage, group, hosted)?;
        self.dir.change(node, |identity| identity.hosted.insert(group))?;
        Ok(())
    }
}

/// A registered run.
#[derive(Clone, Copy, Debug)]
struct Joined {
    sender: Sender,
    registration: Revision,
}

impl Joined {
    /// Whether the registration of this very run says that its storage is not to be trusted.
    fn is_distrusted(&self, found: &Registration) -> bool {
        found.record.poisoned && found.run() == self.sender.run && found.record.storage == self.sender.storage
    }
}

/// Says in a registration that its storage is not to be trusted. False if that could not be written, or something else was before.
async fn mark_poisoned(records: &Records, node: simplekv_types::NodeId, found: Registration) -> bool {
    let record = NodeRecord { poisoned: true, run: Some(found.run()), ..found.record };
    matches!(records.register(node, found.revision, &record).await, Ok(Cas::Done { .. }))
}

fn assigned(view: &ClusterView, node: simplekv_types::NodeId) -> BTreeSet<GroupId> {
    view.groups.iter().filter(|(_, found)| found.record.is_assigned(node)).map(|(&group, _)| group).collect()
}

/// Does what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("opening a replica does not panic, and is not cancelled")
}

fn delays() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_jitter()
        .without_max_times()
        .build()
}
