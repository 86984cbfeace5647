//! A machine: its disk, its clocks, and at times a process of the server.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use simplekv_cluster::{Controller, DiskIdentity, NodeFacts};
use simplekv_engine::fs::MemFs;
use simplekv_engine::{Flusher, LogReader, Reader};
use simplekv_meta::{Office, SessionId};
use simplekv_server::Published;
use simplekv_server::group::{Answer, Group, Respond};
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::Sender;
use simplekv_types::{FlushPolicy, GroupId, GroupRecord, Lsn, Member, NodeId, Revision, RunId, StorageId, Tick};

use crate::clock::{Clocks, Nanos, ms};
use crate::oracle::Shadow;

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) clocks: Clocks,
    pub(crate) fs: MemFs,
    /// What its `node.json` says; `None` on an empty disk.
    pub(crate) file: Option<NodeFile>,
    /// How often it was started.
    pub(crate) boots: u64,
    pub(crate) process: Option<Process>,
    /// A run that is registered and takes no part yet.
    pub(crate) begins: Option<RunId>,
    /// The process is stopped until then.
    pub(crate) paused_until: Nanos,
    /// Flushes and probes are stuck until then.
    pub(crate) disk_hangs_until: Nanos,
    /// Whether something acknowledged may be gone, which the next process will find out.
    pub(crate) lossy: bool,
    /// Whether something acknowledged is gone, or may be, so that it must not come back as the same incarnation.
    pub(crate) lost: bool,
    /// Whether a copy of the disk was put back that is older than the last run.
    pub(crate) put_back: bool,
    /// When something last happened in its process.
    pub(crate) last_happening: Nanos,
    /// A copy of the disk, made at some moment.
    pub(crate) backup: Option<(MemFs, Option<NodeFile>)>,
}

/// What a data directory says about itself.
#[derive(Clone, Debug)]
pub(crate) struct NodeFile {
    pub(crate) identity: DiskIdentity,
    pub(crate) hosted: BTreeSet<GroupId>,
    pub(crate) poisoned: bool,
    /// Earlier incarnations that worked last in this directory.
    pub(crate) previous: Vec<StorageId>,
    /// Where each log ended when the process stopped in order: a shorter one is damaged.
    pub(crate) log_ends: BTreeMap<GroupId, Lsn>,
}

/// One run of the server.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) sender: Sender,
    /// Revision of the registration.
    pub(crate) registration: Revision,
    pub(crate) groups: BTreeMap<GroupId, Hosted>,
    pub(crate) session: Option<SessionId>,
    pub(crate) term: Option<Term>,
    /// What it was told of groups' records.
    pub(crate) known: BTreeMap<GroupId, (GroupRecord, Revision)>,
    /// What it was told of the nodes.
    pub(crate) nodes: Vec<NodeFacts>,
    /// Answers given since they were last looked at.
    pub(crate) heard: Rc<RefCell<Vec<Heard>>>,
    /// It was told that it will be ended.
    pub(crate) stopping: bool,
}

/// A time in the controller's office.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) controller: Controller,
    pub(crate) office: Office,
    pub(crate) wakes_at: Option<Nanos>,
}

/// One replica.
pub(crate) struct Hosted {
    pub(crate) group: Group<Ticket>,
    pub(crate) published: Arc<Published>,
    pub(crate) reader: Reader,
    pub(crate) log: LogReader,
    pub(crate) disk: Disk,
    pub(crate) wakes_at: Option<Nanos>,
    /// What its log holds, as the oracle has seen it grow.
    pub(crate) shadow: Shadow,
    pub(crate) ready_to_stop: bool,
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("status", &self.group.replica().status()).finish_non_exhaustive()
    }
}

/// A replica's flush thread.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) flusher: Flusher,
    /// The newest mark to flush up to.
    pub(crate) wanted: Option<(Lsn, u64)>,
    pub(crate) probe: Option<u64>,
    pub(crate) busy: bool,
    pub(crate) last: Nanos,
}

/// Who waits for answers.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) number: u64,
    pub(crate) wanted: Rc<Cell<bool>>,
    pub(crate) heard: Rc<RefCell<Vec<Heard>>>,
}

/// Answers given.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) number: u64,
    pub(crate) answers: Vec<Answer>,
}

impl Respond for Ticket {
    fn respond(self, answers: Vec<Answer>) {
        self.heard.borrow_mut().push(Heard { number: self.number, answers });
    }

    fn is_wanted(&self) -> bool {
        self.wanted.get()
    }
}

impl NodeFile {
    /// Of a disk that nobody has used.
    pub(crate) fn new(storage: StorageId, flush: FlushPolicy, boot_id: String) -> Self {
        let identity = DiskIdentity { storage, run: None, tried: Vec::new(), boot_id, flush, clean_run: None };
        Self { identity, hosted: BTreeSet::new(), poisoned: false, previous: Vec::new(), log_ends: BTreeMap::new() }
    }
}

impl Process {
    pub(crate) fn new(sender: Sender, registration: Revision) -> Self {
        Self {
            sender,
            registration,
            groups: BTreeMap::new(),
            session: None,
            term: None,
            known: BTreeMap::new(),
            nodes: Vec::new(),
            heard: Rc::default(),
            stopping: false,
        }
    }
}

impl Machine {
    /// With an empty disk, switched on.
    pub(crate) fn new(id: NodeId, clocks: Clocks) -> Self {
        Self {
            id,
            clocks,
            fs: MemFs::new(),
            file: None,
            boots: 1,
            process: None,
            begins: None,
            paused_until: 0,
            disk_hangs_until: 0,
            lossy: false,
            lost: false,
            put_back: false,
            last_happening: 0,
            backup: None,
        }
    }

    pub(crate) fn run(&self) -> Option<RunId> {
        self.process.as_ref().map(|process| process.sender.run)
    }

    /// What a reader takes for the time before it reads.
    pub(crate) fn reading_clock(&self, now: Nanos) -> Tick {
        // The rules about what is looked at afterwards matter only to a reader that does not look at the clock at first, but at what
        // somebody read from it before.
        let is_cached = [Rule::C4, Rule::C5, Rule::C6].into_iter().any(is_broken);
        self.clocks.tick(if is_cached { self.last_happening.min(now - now % ms(3000)) } else { now })
    }

    /// What a reader takes for the time after it has read. `began`: what it took for the time before.
    pub(crate) fn proving_clock(&self, now: Nanos, began: Tick) -> Tick {
        if is_broken(Rule::C5) { began } else { self.clocks.tick(now) }
    }

    pub(crate) fn boot_id(&self) -> String {
        self.boots.to_string()
    }

    /// Whether this disk is the listed incarnation and has lost nothing it acknowledged.
    pub(crate) fn keeps_promises_of(&self, member: Member) -> bool {
        let storage = self.file.as_ref().map(|file| file.identity.storage);
        self.id == member.node && storage == Some(member.storage) && !self.lossy
    }

    pub(crate) fn hosted(&self, group: GroupId) -> Option<&Hosted> {
        self.process.as_ref()?.groups.get(&group)
    }

    pub(crate) fn hosted_mut(&mut self, group: GroupId) -> Option<&mut Hosted> {
        self.process.as_mut()?.groups.get_mut(&group)
    }
}

/// Where a replica lives on every machine.
pub(crate) fn directory(group: GroupId) -> PathBuf {
    PathBuf::from(format!("/{group}"))
}
