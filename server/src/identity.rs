//! Who a node is: its data directory, the incarnation of its storage, and this run of its process.
//!
//! The node's directory holds `node.json` and one directory per group. A node that may have lost something draws a new storage
//! incarnation: to the cluster it is another replica, whatever its logs hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use serde::{Deserialize, Serialize};
use simplekv_cluster::{Decision, DiskIdentity, RenewReason, StartFacts, has_ended, resume_or_renew};
use simplekv_types::{ClusterId, FlushPolicy, GroupId, Lsn, NodeId, Registration, RunId, StorageId};

/// The file that says whose directory this is.
const FILE: &str = "node.json";
/// How many earlier incarnations a directory remembers. Which of them some group lists is not looked at: a change that lists one may
/// be on its way to the metadata store.
const PREVIOUS_MAX: usize = 16;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// `None` for a node that registered before there was a cluster.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) node: NodeId,
    pub(crate) storage: StorageId,
    /// The last run that wrote here.
    pub(crate) run: Option<RunId>,
    /// Nonces written before registrations were tried with them since `run` was noted, the last one last: any of those may have
    /// gone through.
    #[serde(default)]
    pub(crate) tried: Vec<u64>,
    /// The boot of the machine the last run wrote in: after a crash of the process alone, the page cache still has everything.
    pub(crate) boot: String,
    /// The flush policy the last run wrote with.
    pub(crate) flush: FlushPolicy,
    /// How the last run ended, if it ended cleanly. Removed by the next run once it is registered, before it says a word to a peer.
    ///
    /// Until then nothing but opening touches the logs, and every start compares them with what the mark says: a start that comes
    /// to nothing does not cost it.
    pub(crate) clean: Option<CleanEnd>,
    /// Groups with a replica of this incarnation here. One whose directory is not there has lost what it acknowledged.
    pub(crate) hosted: BTreeSet<GroupId>,
    /// Earlier incarnations of this directory that have ended for certain, the latest last.
    #[serde(default)]
    pub(crate) previous: Vec<StorageId>,
    /// Set after a failed flush, and while the directory is being made over to another incarnation.
    #[serde(default)]
    pub(crate) poisoned: bool,
}

/// What a run left behind that had everything on disk when it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanEnd {
    pub(crate) run: RunId,
    /// Where the logs ended. One that is shorter at the next start has lost something, however whole it looks.
    pub(crate) log_ends: BTreeMap<GroupId, Lsn>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file does not make sense.
    #[error(
        "{path} is damaged ({error}); if its data can be given up, remove the directory and the node starts as a new replica"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The directory is another node's.
    #[error("{path} belongs to node {theirs}, this is node {ours}: check `node.id` and `storage.dir`")]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: NodeId,
        /// Who we are.
        ours: NodeId,
    },
    /// The directory is another cluster's.
    #[error(
        "{path} belongs to cluster {theirs}, the metadata store holds cluster {ours}: check `storage.dir` and `etcd`"
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: ClusterId,
        /// The cluster found in the metadata store.
        ours: ClusterId,
    },
}

/// A node's data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Held while the file is read to be changed.
    changing: Arc<Mutex<()>>,
}

impl DataDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, changing: Arc::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the replica of a group lives.
    pub(crate) fn replica(&self, group: GroupId) -> PathBuf {
        self.path.join(group.to_string())
    }

    /// What the directory says about itself; `None` if it is new.
    pub(crate) fn read(&self, node: NodeId) -> Result<Option<Identity>, IdentityError> {
        let path = self.path.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IdentityError::Io { path, error }),
        };
        let identity: Identity = serde_json::from_slice(&bytes)
            .map_err(|error| IdentityError::Damaged { path: path.clone(), error: error.to_string() })?;
        if identity.node != node {
            return Err(IdentityError::OtherNode { path: self.path.clone(), theirs: identity.node, ours: node });
        }
        Ok(Some(identity))
    }

    /// Changes what the file says, if there is one and `change` says that it did; on disk when this returns.
    pub(crate) fn change(&self, node: NodeId, change: impl FnOnce(&mut Identity) -> bool) -> Result<(), IdentityError> {
        let _changing = self.changing.lock();
        let Some(mut identity) = self.read(node)? else { return Ok(()) };
        if change(&mut identity) { self.write(&identity) } else { Ok(()) }
    }

    /// Replaces the file; it is on disk when this returns.
    pub(crate) fn write(&self, identity: &Identity) -> Result<(), IdentityError> {
        let text = serde_json::to_vec_pretty(identity).expect("plain values always serialise");
        self.replace(&text).map_err(|error| IdentityError::Io { path: self.path.join(FILE), error })
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let next = self.path.join("node.json.next");
        let mut file = File::create(&next)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&next, self.path.join(FILE))?;
        File::open(&self.path)?.sync_all()
    }
}

impl Identity {
    /// Whether the machine has not been started anew since the last run wrote here; false where the system does not tell.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        !self.boot.is_empty() && self.boot == boot_id()
    }

    /// What the next registration is tried with.
    pub(crate) fn nonce(&self) -> u64 {
        *self.tried.last().expect("a start draws a nonce before it registers")
    }

    /// As it is once `run` is registered.
    pub(crate) fn noted(self, run: RunId, flush: FlushPolicy) -> Self {
        let tried = vec![self.nonce()];
        // From here on this run may change what the mark of a clean end vouches for.
        Self { run: Some(run), tried, boot: boot_id(), flush, clean: None, ..self }
    }

    /// A directory belongs to one cluster for ever.
    ///
    /// # Errors
    /// [`IdentityError::OtherCluster`].
    pub(crate) fn check_cluster(&self, dir: &DataDir, ours: ClusterId) -> Result<(), IdentityError> {
        match self.cluster {
            Some(theirs) if theirs != ours => {
                Err(IdentityError::OtherCluster { path: dir.path().to_owned(), theirs, ours })
            }
            _ => Ok(()),
        }
    }
}

/// The identity this start goes on with, and why it is a new one if it is. Nothing is written yet. `corrupt`: a replica is not whole.
pub(crate) fn decide(
    node: NodeId,
    flush: FlushPolicy,
    disk: Option<Identity>,
    registration: Option<&Registration>,
    corrupt: bool,
) -> (Identity, Option<RenewReason>) {
    let boot = boot_id();
    let facts =
        StartFacts { boot_id: boot.clone(), corrupt, poison_file: disk.as_ref().is_some_and(|disk| disk.poisoned) };
    let known = disk.as_ref().map(|disk| DiskIdentity {
        storage: disk.storage,
        run: disk.run,
        tried: disk.tried.clone(),
        boot_id: disk.boot.clone(),
        flush: disk.flush,
        clean_run: disk.clean.as_ref().map(|clean| clean.run),
    });
    let nonce = rand::rng().random();
    let fresh = |previous: Vec<StorageId>| Identity {
        cluster: None,
        node,
        storage: StorageId(rand::rng().random()),
        run: None,
        tried: vec![nonce],
        boot: boot.clone(),
        flush,
        clean: None,
        hosted: BTreeSet::new(),
        previous,
        poisoned: false,
    };
    match (resume_or_renew(known.as_ref(), registration, &facts), disk) {
        // Whoever resumes has the old run's claim to its data; only the nonce is new.
        (Decision::Resume, Some(mut disk)) => {
            disk.tried.push(nonce);
            (disk, None)
        }
        (Decision::Resume, None) => (fresh(Vec::new()), Some(RenewReason::NewDirectory)),
        (Decision::Renew(reason), None) => (fresh(Vec::new()), Some(reason)),
        (Decision::Renew(reason), Some(Identity { cluster, storage, mut previous, .. })) => {
            // Those before have ended however this directory came here: it was made over from them, or copied from one that was.
            previous.extend(known.filter(|disk| has_ended(reason, disk, registration)).map(|_| storage));
            previous.drain(..previous.len().saturating_sub(PREVIOUS_MAX));
            (Identity { cluster, ..fresh(previous) }, Some(reason))
        }
    }
}

/// Names the machine's current boot; empty where the system does not tell.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use simplekv_types::{NodeAddresses, NodeRecord, Revision};

    use super::*;

    const NODE: NodeId = NodeId(1);

    /// A directory as run 30 left it, which inherited from an incarnation before.
    fn disk() -> Identity {
        Identity {
            cluster: Some(ClusterId(1)),
            node: NODE,
            storage: StorageId(7),
            run: Some(RunId(30)),
            tried: vec![555],
            boot: "another boot".to_owned(),
            flush: FlushPolicy::Replicated,
            clean: None,
            hosted: BTreeSet::new(),
            previous: vec![StorageId(6)],
            poisoned: false,
        }
    }

    fn registered(run: u64) -> Registration {
        let record = NodeRecord {
            storage: StorageId(7),
            run: None,
            nonce: run,
            prev_storages: Vec::new(),
            poisoned: false,
            addresses: NodeAddresses::default(),
            zone: String::new(),
            flush: FlushPolicy::Replicated,
        };
        Registration { record, revision: Revision(run) }
    }

    /// C44: whoever names an incarnation as its predecessor says that it has ended.
    #[test]
    fn only_the_original_directory_names_its_incarnation_as_ended() {
        let renewed = |run| decide(NODE, FlushPolicy::Replicated, Some(disk()), Some(&registered(run)), false);
        let (identity, reason) = renewed(30);
        assert_eq!(reason, Some(RenewReason::Unflushed));
        assert_eq!(identity.previous, [6, 7].map(StorageId));
        let (identity, reason) = renewed(40);
        assert_eq!(reason, Some(RenewReason::OtherRun), "a backup: run 40 worked in another directory, and may still");
        assert_eq!(identity.previous, [StorageId(6)]);
        let (identity, reason) = renewed(20);
        assert_eq!(reason, Some(RenewReason::OtherRun), "the metadata store has forgotten run 30");
        assert_eq!(identity.previous, [6, 7].map(StorageId));
    }

    #[test]
    fn the_latest_incarnations_are_remembered_whoever_lists_them() {
        let full = Identity { previous: (100..116).map(StorageId).collect(), ..disk() };
        let (identity, _) = decide(NODE, FlushPolicy::Replicated, Some(full), Some(&registered(30)), false);
        assert_eq!(identity.previous.len(), PREVIOUS_MAX);
        assert_eq!((identity.previous[0], identity.previous[15]), (StorageId(101), StorageId(7)));
    }
}
