//! The replicas a node hosts: their directories, their tasks, their end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use simplekv_cluster::migration::MoveEvent;
use simplekv_cluster::{Config, Event, NodeFacts, Replica, Timing, Window};
use simplekv_engine::fs::Fs;
use simplekv_engine::{DirectoryError, Engine, OpenError, Options, Recovery, ReplicaIdentity, Verdict};
use simplekv_meta::{ClusterView, Records};
use simplekv_types::peer::Sender;
use simplekv_types::{ClusterId, FlushPolicy, GroupId, Lineage, Lsn, StorageId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::clock;
use crate::group::{self, Group, ReplayError, Replayed};
use crate::host::{self, Inbox, Means, News};
use crate::hosted::{self, Hosted, Order, Published};
use crate::identity::{DataDir, Identity};
use crate::moves;
use crate::peers::Peers;
use crate::shared::Shared;

/// How long a group's task may take to end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// A directory cannot be used, and renewing the node's storage does not help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenFailure {
    #[error("replica of {group}: {error}")]
    Open { group: GroupId, error: OpenError },
    #[error("replica of {group}: {error}")]
    Directory { group: GroupId, error: DirectoryError },
    #[error("replica of {group}: {error}")]
    Replay { group: GroupId, error: ReplayError },
    #[error("{path} cannot be moved aside: {error}")]
    Aside { path: PathBuf, error: std::io::Error },
    #[error("the system refuses a thread for {group}: {error}")]
    Thread { group: GroupId, error: std::io::Error },
}

/// The hosted replicas. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Replicas {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    fs: Arc<dyn Fs>,
    dir: DataDir,
    records: Records,
    peers: Peers,
    news: mpsc::UnboundedSender<News>,
    /// Opened to find out whether they are whole, waiting to be started.
    opened: Mutex<BTreeMap<GroupId, Opened>>,
    /// Every replica that was opened. Unless all of them are closed, the end is not clean.
    touched: Mutex<BTreeSet<GroupId>>,
    tasks: Mutex<BTreeMap<GroupId, JoinHandle<Option<Lsn>>>>,
    /// Groups whose append path hangs.
    stalled: Mutex<BTreeSet<GroupId>>,
    any_stalled: watch::Sender<bool>,
}

#[derive(Debug)]
struct Opened {
    engine: Engine,
    replayed: Replayed,
    /// Whether what was cut off was not the end of what had been written.
    followed: bool,
}

impl Replicas {
    pub(crate) fn new(
        shared: Arc<Shared>,
        fs: Arc<dyn Fs>,
        dir: DataDir,
        records: Records,
        peers: Peers,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        let inner = Inner {
            shared,
            fs,
            dir,
            records,
            peers,
            news,
            opened: Mutex::default(),
            touched: Mutex::default(),
            tasks: Mutex::default(),
            stalled: Mutex::default(),
            any_stalled: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Opens the replicas of these groups that exist, and tells which of them are not whole.
    pub(crate) fn open_all(
        &self,
        cluster: ClusterId,
        disk: &Identity,
        groups: &BTreeSet<GroupId>,
    ) -> Result<Vec<GroupId>, OpenFailure> {
        // Another registration may have come first and sent the node here again: what it holds would lock it out.
        self.inner.opened.lock().clear();
        let mut damaged = Vec::new();
        for &group in groups {
            if !self.has_replica(group) {
                if disk.hosted.contains(&group) {
                    warn!(%group, "this replica's directory is gone");
                    damaged.push(group);
                }
                continue;
            }
            // Where the log ended at least.
            let end = disk.clean.as_ref().and_then(|clean| clean.log_ends.get(&group)).copied().unwrap_or_default();
            match self.open(cluster, disk.storage, group) {
                Ok(opened) if opened.engine.log_end() < end => {
                    let left = opened.engine.log_end();
                    warn!(%group, %end, %left, "this replica's log is shorter than it was when the node stopped");
                    damaged.push(group);
                }
                // The page cache still had everything that was written: it is not a crash that took this.
                Ok(opened) if opened.followed && disk.is_of_this_boot() => {
                    warn!(%group, "something was lost from the middle of this replica's log");
                    damaged.push(group);
                }
                Ok(opened) => drop(self.inner.opened.lock().insert(group, opened)),
                // Of an earlier incarnation that was renewed while the group was elsewhere, or of the next one, whose making was
                // cut off: nothing that is promised now.
                Err(error) if is_of_another_incarnation(&error) && !disk.hosted.contains(&group) => (),
                Err(error) if is_of_another_incarnation(&error) && disk.poisoned => (),
                // The same, and of no use either.
                Err(error) if is_damage(&error) && !disk.hosted.contains(&group) => {
                    warn!(%group, %error, "what an earlier replica left here is not whole");
                    self.move_aside(group, disk.storage)?;
                }
                Err(error) if is_damage(&error) => {
                    warn!(%group, %error, "this replica is not whole");
                    damaged.push(group);
                }
                Err(error) => return Err(OpenFailure::Open { group, error }),
            }
        }
        Ok(damaged)
    }

    /// Gives every replica the node's new storage incarnation. Damaged ones are moved aside: what they hold is evidence.
    pub(crate) fn renew(
        &self,
        cluster: ClusterId,
        storage: StorageId,
        groups: &BTreeSet<GroupId>,
        damaged: &[GroupId],
    ) -> Result<(), OpenFailure> {
        self.inner.opened.lock().clear();
        self.inner.touched.lock().clear();
        for &group in groups {
            if damaged.contains(&group) {
                self.move_aside(group, storage)?;
            } else if self.has_replica(group) {
                match self.assign(cluster, storage, group) {
                    Err(OpenFailure::Directory { error: DirectoryError::Damaged { .. }, .. }) => {
                        self.move_aside(group, storage)?;
                    }
                    assigned => assigned?,
                }
            }
        }
        Ok(())
    }

    fn move_aside(&self, group: GroupId, storage: StorageId) -> Result<(), OpenFailure> {
        self.rename(group, &format!("damaged-{storage}"))
    }

    /// Moves the files of a replica, which has ended, out of the way of the one that begins in this lineage.
    pub(crate) fn put_away(&self, group: GroupId, lineage: Lineage) -> Result<(), OpenFailure> {
        self.rename(group, &format!("before-lineage-{lineage}"))
    }

    fn rename(&self, group: GroupId, label: &str) -> Result<(), OpenFailure> {
        let path = self.inner.dir.replica(group);
        let aside = (1_u32..)
            .map(|nth| path.with_extension(format!("{label}-{nth}")))
            .find(|aside| !aside.exists())
            .expect("a directory does not hold that many");
        match std::fs::rename(&path, &aside) {
            Ok(()) => {
                warn!(%group, path = %aside.display(), "the replica was moved aside, the group's data is fetched anew");
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(OpenFailure::Aside { path, error }),
        }
    }

    fn assign(&self, cluster: ClusterId, storage: StorageId, group: GroupId) -> Result<(), OpenFailure> {
        let path = self.inner.dir.replica(group);
        simplekv_engine::assign_storage(&*self.inner.fs, &path, cluster, group, storage)
            .map_err(|error| OpenFailure::Directory { group, error })
    }

    fn has_replica(&self, group: GroupId) -> bool {
        self.inner.dir.replica(group).join("META").exists()
    }

    fn open(&self, cluster: ClusterId, storage: StorageId, group: GroupId) -> Result<Opened, OpenError> {
        let inner = &self.inner;
        inner.touched.lock().insert(group);
        let config = inner.shared.config();
        let options = Options {
            flush: config.flush,
            segment_bytes: config.segment_bytes,
            hash_seed: rand::random(),
            ..Options::default()
        };
        let mut replayed = Replayed::default();
        let path = inner.dir.replica(group);
        let identity = ReplicaIdentity { cluster, group, storage };
        let (engine, recovery) = Engine::open(Arc::clone(&inner.fs), &path, identity, &options, &mut |applied| {
            replayed.record(applied.lsn, applied.time, &applied.record);
        })?;
        tell(group, &engine, &recovery);
        let followed = matches!(recovery.verdict, Verdict::TornTail { followed: true, .. });
        Ok(Opened { engine, replayed, followed })
    }

    /// Opens the replica of a group, unless that is done. Waits for the disk. `hosted`: this incarnation had one and may have
    /// acknowledged something with it.
    pub(crate) fn prepare(
        &self,
        cluster: ClusterId,
        storage: StorageId,
        group: GroupId,
        hosted: bool,
    ) -> Result<(), OpenFailure> {
        if self.inner.opened.lock().contains_key(&group) {
            return Ok(());
        }
        let mut opened = self.open(cluster, storage, group);
        if opened.as_ref().is_err_and(is_of_another_incarnation) {
            // What an earlier incarnation left is a source to catch up from, as after any renewal.
            self.assign(cluster, storage, group)?;
            opened = self.open(cluster, storage, group);
        }
        if let Err(error) = &opened
            && is_damage(error)
            && !hosted
        {
            warn!(%group, %error, "what an earlier replica left here is not whole");
            self.move_aside(group, storage)?;
            opened = self.open(cluster, storage, group);
        }
        let opened = opened.map_err(|error| OpenFailure::Open { group, error })?;
        self.inner.opened.lock().insert(group, opened);
        Ok(())
    }

    /// Starts the replica of a group, which has been prepared.
    pub(crate) fn start(
        &self,
        cluster: ClusterId,
        me: Sender,
        group: GroupId,
        lineage: Lineage,
    ) -> Result<(), OpenFailure> {
        let inner = &self.inner;
        let opened = inner.opened.lock().remove(&group);
        let Opened { engine, mut replayed, .. } = opened.expect("a replica is prepared before it is started");
        replayed.pending(&engine).map_err(|error| OpenFailure::Replay { group, error })?;
        let config = inner.shared.config();
        let timing =
            Timing { session_ttl: config.etcd.session_ttl, flush_interval: config.flush_interval, ..Timing::default() };
        let settings = Config {
            cluster,
            group,
            identity: me,
            flush: config.flush,
            timing,
            window: Window::default(),
            grant_read_leases: true,
        };
        let replica = Replica::new(clock::now(), settings, group::recovered(&engine, lineage));

        let tracking = Arc::clone(inner.shared.tracking());
        let published = Arc::new(Published { tracking, ..Published::default() });
        let (submissions_in, submissions) = mpsc::channel(hosted::SUBMISSIONS);
        let (messages_in, messages) = mpsc::channel(hosted::MESSAGES);
        let (orders_in, orders) = mpsc::unbounded_channel();
        let gap = if config.flush == FlushPolicy::Always { Duration::ZERO } else { config.flush_interval };
        let flushes = host::start_flushes(group, gap, engine.flusher(), orders_in.downgrade())
            .map_err(|error| OpenFailure::Thread { group, error })?;
        let hosted =
            Hosted::new(group, engine.reader(), Arc::clone(&published), submissions_in, messages_in, orders_in.clone());
        let means = Means {
            id: group,
            flush: config.flush,
            records: inner.records.clone(),
            peers: inner.peers.clone(),
            // The task must not keep its own inbox open.
            orders: orders_in.downgrade(),
            flushes,
            news: inner.news.clone(),
        };
        let value_bytes = config.limits.value_bytes;
        let state = Group::new(group, replica, engine, replayed, published, value_bytes);
        let task = tokio::spawn(host::run(state, Inbox { submissions, messages, orders }, means));
        inner.tasks.lock().insert(group, task);
        let hosted = Arc::new(hosted);
        inner.shared.change_hosted(|groups| drop(groups.insert(group, Arc::clone(&hosted))));
        Ok(())
    }

    /// Tells every replica what the metadata shows about its group and about nodes.
    pub(crate) fn tell_view(&self, view: &ClusterView) {
        let nodes = node_facts(view);
        let moves = moves::seen(view);
        for hosted in self.inner.shared.all_hosted() {
            hosted.tell(Order::Map(Arc::clone(&view.slots), view.slot_map_version));
            if !moves.is_empty() {
                hosted.tell(Order::Move(MoveEvent::Seen(moves.clone())));
            }
            hosted.tell(Order::Event(Event::NodesSeen(nodes.clone())));
            if let Some(found) = view.groups.get(&hosted.id()) {
                let (record, revision) = (found.record.clone(), found.modified);
                hosted.tell(Order::Event(Event::RecordSeen { record, revision }));
            }
        }
    }

    /// A group's append path hangs, or works again.
    pub(crate) fn note_stalled(&self, group: GroupId, stalled: bool) {
        let mut all = self.inner.stalled.lock();
        if stalled {
            all.insert(group);
        } else {
            all.remove(&group);
        }
        self.inner.any_stalled.send_replace(!all.is_empty());
    }

    /// Tells whether the append path of any group hangs.
    pub(crate) fn stalled(&self) -> watch::Receiver<bool> {
        self.inner.any_stalled.subscribe()
    }

    /// Has every replica hand over what it can.
    pub(crate) async fn hand_over(&self) {
        let mut waits = Vec::new();
        for hosted in self.inner.shared.all_hosted() {
            let (done, ready) = oneshot::channel();
            hosted.tell(Order::Stop { done });
            waits.push(ready);
        }
        for ready in waits {
            // A task that is gone has nothing to hand over.
            let _ = ready.await;
        }
    }

    /// Ends the task of one group, and with it its flush thread.
    pub(crate) async fn end(&self, group: GroupId) {
        self.inner.shared.change_hosted(|groups| drop(groups.remove(&group)));
        let task = self.inner.tasks.lock().remove(&group);
        if let Some(mut task) = task
            && tokio::time::timeout(END_PATIENCE, &mut task).await.is_err()
        {
            task.abort();
        }
        self.inner.touched.lock().remove(&group);
        self.note_stalled(group, false);
    }

    /// Ends the tasks, and with them the flush threads. Tells where the logs end, if all of them are on disk as a whole.
    pub(crate) async fn stop(&self) -> Option<BTreeMap<GroupId, Lsn>> {
        self.inner.shared.change_hosted(BTreeMap::clear);
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        let mut ends = BTreeMap::new();
        for (group, mut task) in tasks {
            match tokio::time::timeout(END_PATIENCE, &mut task).await {
                Ok(closed) => ends.extend(closed.ok().flatten().map(|end| (group, end))),
                // Somebody still holds the group's inbox: a connection that does not end.
                Err(_) => task.abort(),
            }
        }
        let opened = std::mem::take(&mut *self.inner.opened.lock());
        for (group, Opened { engine, .. }) in opened {
            let end = engine.log_end();
            ends.extend(engine.close().ok().map(|()| (group, end)));
        }
        let touched = self.inner.touched.lock();
        touched.iter().all(|group| ends.contains_key(group)).then_some(ends)
    }
}

/// What is known of every node, in the protocol's words.
pub(crate) fn node_facts(view: &ClusterView) -> Vec<NodeFacts> {
    view.nodes
        .iter()
        .map(|(&node, registration)| NodeFacts::new(node, registration, view.live.get(&node).copied()))
        .collect()
}

/// Whether a directory holds the right replica, of another incarnation of this node's storage.
fn is_of_another_incarnation(error: &OpenError) -> bool {
    match error {
        OpenError::Directory(DirectoryError::Foreign { found, expected, .. }) => {
            found.cluster == expected.cluster && found.group == expected.group
        }
        _ => false,
    }
}

fn is_damage(error: &OpenError) -> bool {
    match error {
        OpenError::Corrupt { .. } | OpenError::Inconsistent { .. } => true,
        OpenError::Directory(
            DirectoryError::Missing { .. }
            | DirectoryError::Damaged { .. }
            | DirectoryError::Unlisted { .. }
            | DirectoryError::Poisoned { .. },
        ) => true,
        other => is_of_another_incarnation(other),
    }
}

fn tell(group: GroupId, engine: &Engine, recovery: &Recovery) {
    info!(
        %group, records = recovery.records, bytes = recovery.bytes, cut_bytes = recovery.cut_bytes, log_end = %engine.log_end(),
        applied = %engine.applied(), verdict = ?recovery.verdict, took = ?recovery.duration, "replica opened"
    );
}
