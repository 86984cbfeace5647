//! Starting, stopping and hurting machines.

use std::path::Path;
use std::sync::Arc;

use simplekv_cluster::{Decision, Replica, StartFacts, resume_or_renew};
use simplekv_engine::fs::{Fs, MemFs};
use simplekv_engine::{Engine, OpenError, Options, Recovery, ReplicaIdentity, Verdict, assign_storage};
use simplekv_meta::Cas;
use simplekv_server::group::{Group, Replayed};
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::Sender;
use simplekv_types::{NodeAddresses, Registration};

use super::*;
use crate::machine::{Disk, Hosted, NodeFile, Process, directory};
use crate::oracle::Shadow;

/// Values beyond are refused.
const VALUE_BYTES: usize = 1 << 16;

/// What a replica's directory came to.
enum Opened {
    Whole(Box<(Engine, Replayed)>),
    Damaged(String),
    Absent,
}

impl World {
    /// Starts a node's process as the server does: decide who it is, register, then take part.
    pub(super) fn start(&mut self, id: NodeId) {
        let Some(machine) = self.machines.get(&id).filter(|machine| machine.process.is_none()) else { return };
        if self.store_down || !self.network.reach(Place::Node(id), Place::Store) {
            let after = ms(200) + self.rng.below(ms(300));
            self.schedule(after, Happening::Start { node: id });
            return;
        }
        // Whoever starts a node after its disk ran full has made room.
        machine.fs.set_capacity(None);
        let registration = self.store.node(id);
        let file = machine.file.clone();
        let groups = self.groups();
        let opened: Vec<Opened> = groups.iter().map(|&group| self.open(id, file.as_ref(), group)).collect();
        let facts = StartFacts {
            boot_id: machine.boot_id(),
            corrupt: opened.iter().any(|opened| matches!(opened, Opened::Damaged(_))),
            poison_file: file.as_ref().is_some_and(|file| file.poisoned),
        };
        for (group, found) in groups.iter().zip(&opened) {
            if let Opened::Damaged(what) = found {
                let what = what.clone();
                self.note(|| format!("{id}: {group} is damaged: {what}"));
            }
        }
        let machine = self.machines.get(&id).expect("it is being started");
        let decision = resume_or_renew(file.as_ref().map(|file| &file.identity), registration.as_ref(), &facts);
        let file = match (decision, file) {
            (Decision::Resume, Some(file)) => {
                let is_old = machine.put_back && self.begun.get(&file.identity.storage).copied() != file.identity.run;
                assert!(!machine.lost && !is_old, "{id} has lost what it acknowledged and is taken for the same");
                file
            }
            (decision, old) => {
                let other = decision == Decision::Renew(simplekv_cluster::RenewReason::OtherRun);
                assert!(!other || machine.lossy, "{id} is intact and is taken for another");
                self.note(|| format!("{id}: another incarnation ({decision:?})"));
                self.renew(id, old.as_ref(), &groups, &opened)
            }
        };
        drop(opened);
        self.register(id, registration.as_ref(), file);
    }

    /// Opens a replica's directory, if there is one.
    fn open(&self, id: NodeId, file: Option<&NodeFile>, group: GroupId) -> Opened {
        let (Some(machine), Some(file)) = (self.machines.get(&id), file) else { return Opened::Absent };
        let path = directory(group);
        if machine.fs.content(&path.join("META")).is_none() && !file.hosted.contains(&group) {
            return Opened::Absent;
        }
        let mut replayed = Replayed::default();
        let identity = ReplicaIdentity { cluster: CLUSTER, group, storage: file.identity.storage };
        let options = Options {
            flush: self.settings.flush,
            segment_bytes: self.settings.segment_bytes,
            mapped_bytes: 0,
            tail_bytes: 1 << 16,
            hash_seed: 7,
        };
        let fs: Arc<dyn Fs> = Arc::new(machine.fs.clone());
        let found = Engine::open(fs, &path, identity, &options, &mut |applied| {
            replayed.record(applied.lsn, &applied.record);
        });
        match found {
            // The page cache still had everything that was written: it is not a crash that took this.
            Ok((_, Recovery { verdict: verdict @ Verdict::TornTail { followed: true, .. }, .. }))
                if file.identity.boot_id == machine.boot_id() =>
            {
                Opened::Damaged(format!("{verdict:?}"))
            }
            Ok((engine, _)) if file.log_ends.get(&group).is_some_and(|end| engine.log_end() < *end) => {
                Opened::Damaged(format!("the log ends at {}", engine.log_end()))
            }
            Ok((engine, _)) => Opened::Whole(Box::new((engine, replayed))),
            Err(error @ (OpenError::Corrupt { .. } | OpenError::Inconsistent { .. } | OpenError::Directory(_))) => {
                Opened::Damaged(error.to_string())
            }
            Err(error) => panic!("{id} cannot open {group}: {error}"),
        }
    }

    /// Makes a node's disk over to a new incarnation.
    fn renew(&mut self, id: NodeId, old: Option<&NodeFile>, groups: &[GroupId], opened: &[Opened]) -> NodeFile {
        self.next_storage += 1;
        self.counts.renewals += 1;
        let storage = StorageId(self.next_storage << 64);
        let machine = self.machines.get_mut(&id).expect("it is being started");
        // The engines that were opened to find out are closed by their being dropped.
        machine.fs.crash_process();
        for (&group, found) in groups.iter().zip(opened) {
            match found {
                Opened::Whole(_) => {
                    let made = assign_storage(&machine.fs, &directory(group), CLUSTER, group, storage);
                    made.expect("a whole directory is made over");
                }
                Opened::Damaged(_) => remove_all(&machine.fs, &directory(group)),
                Opened::Absent => (),
            }
        }
        (machine.lossy, machine.lost, machine.put_back) = (false, false, false);
        let mut file = NodeFile::new(storage, self.settings.flush, machine.boot_id());
        file.hosted = old.map(|old| old.hosted.clone()).unwrap_or_default();
        file.hosted.retain(|group| {
            !groups.iter().zip(opened).any(|(g, found)| g == group && matches!(found, Opened::Damaged(_)))
        });
        machine.file = Some(file.clone());
        file
    }

    /// Registers a run. The process may die at any step of it.
    fn register(&mut self, id: NodeId, before: Option<&Registration>, mut file: NodeFile) {
        let nonce = self.rng.next();
        file.identity.tried.push(nonce);
        self.machines.get_mut(&id).expect("it is being started").file = Some(file.clone());
        let record = NodeRecord {
            storage: file.identity.storage,
            run: None,
            nonce,
            prev_storages: Vec::new(),
            poisoned: false,
            addresses: NodeAddresses::default(),
            zone: String::new(),
            flush: self.settings.flush,
        };
        let expected = before.map_or(Revision(0), |registration| registration.revision);
        if self.rng.chance(self.troubles.start) {
            self.counts.deaths_at_start += 1;
            if self.rng.chance(500) {
                // The request is on its way, and whoever sent it is gone.
                let after = self.rng.below(ms(2000));
                self.schedule(after, Happening::RegisterLate { node: id, expected, record });
            }
            return self.start_again(id);
        }
        let run = match self.store.register(id, expected, &record) {
            Cas::Done { revision } => RunId(revision.0),
            Cas::Lost(_) => return self.start_again(id),
        };
        self.publish_nodes();
        if self.rng.chance(self.troubles.start) {
            self.counts.deaths_at_start += 1;
            return self.start_again(id);
        }
        let boot_id = self.machines.get(&id).expect("it is being started").boot_id();
        file.identity.run = Some(run);
        file.identity.tried = vec![nonce];
        file.identity.boot_id = boot_id;
        if !is_broken(Rule::C40) {
            file.identity.clean_run = None;
            file.log_ends.clear();
        }
        file.identity.flush = self.settings.flush;
        self.host(id, run, file);
    }

    fn start_again(&mut self, id: NodeId) {
        self.machines.get_mut(&id).expect("it is being started").fs.crash_process();
        let after = self.rng.below(ms(400));
        self.schedule(after, Happening::Start { node: id });
    }

    /// Begins to take part.
    fn host(&mut self, id: NodeId, run: RunId, mut file: NodeFile) {
        let groups = self.groups();
        file.hosted.extend(groups.iter().copied());
        let sender = Sender { node: id, storage: file.identity.storage, run };
        self.begun.insert(sender.storage, run);
        let machine = self.machines.get_mut(&id).expect("it is being started");
        machine.fs.crash_process();
        machine.file = Some(file.clone());
        machine.process = Some(Process::new(sender, Revision(run.0)));
        for &group in &groups {
            let opened = self.open(id, Some(&file), group);
            let hosted = match opened {
                Opened::Whole(opened) => self.replica(id, sender, group, *opened),
                Opened::Damaged(what) => panic!("{id}: {group} was whole a moment ago: {what}"),
                Opened::Absent => panic!("{id}: {group} was there a moment ago"),
            };
            let process = self.machines.get_mut(&id).and_then(|machine| machine.process.as_mut());
            process.expect("just made").groups.insert(group, hosted);
        }
        self.counts.starts += 1;
        self.note(|| format!("{id}: run {run} of {}", sender.storage));
        self.relist(id, run);
        self.keep_alive(id, run);
        for group in groups {
            self.settle(id, group);
        }
    }

    fn replica(&mut self, id: NodeId, sender: Sender, group: GroupId, opened: (Engine, Replayed)) -> Hosted {
        let (engine, mut replayed) = opened;
        replayed.pending(&engine).expect("it was just opened");
        let config = simplekv_cluster::Config {
            cluster: CLUSTER,
            group,
            identity: sender,
            flush: self.settings.flush,
            timing: self.settings.timing.clone(),
            window: self.settings.window,
            grant_read_leases: self.settings.read_leases,
        };
        let (lineage, now) = (self.store.group(group).0.lineage, self.now);
        let machine = self.machines.get(&id).expect("it is being started");
        let recovered = simplekv_server::group::recovered(&engine, lineage);
        let replica = Replica::new(machine.clocks.tick(now), config, recovered);
        let (reader, log, flusher) = (engine.reader(), engine.log_reader(), engine.flusher());
        let mut shadow = Shadow::default();
        shadow.follow(&log, engine.log_end(), engine.last_epoch());
        let published = Arc::new(simplekv_server::Published::default());
        let applied = engine.applied();
        let (end, flushed) = (engine.log_end(), engine.flushed_end());
        self.note(|| format!("{id}: log of {group} ends at {end}, applied {applied}, flushed {flushed}"));
        let oracle = self.oracles.get_mut(&group).expect("every group has one");
        oracle.apply(id, group, &mut shadow, &log, applied, now);
        Hosted {
            group: Group::new(group, replica, engine, replayed, Arc::clone(&published), VALUE_BYTES),
            published,
            reader,
            log,
            disk: Disk { flusher, wanted: None, probe: None, busy: false, last: 0 },
            wakes_at: None,
            shadow,
            ready_to_stop: false,
        }
    }

    /// Kills a node's process. The page cache lives on.
    pub(crate) fn kill(&mut self, id: NodeId) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.paused_until = 0;
        let Some(process) = machine.process.take() else { return };
        machine.fs.crash_process();
        self.counts.leaders_lost += u64::from(process.leads());
        self.note(|| format!("{id}: process {} ends", process.sender.run));
        self.leave_behind(process);
        self.hang_up(id);
    }

    /// What the logs of a process held that is no more.
    fn leave_behind(&mut self, process: Process) {
        let Sender { node, storage, .. } = process.sender;
        for (group, hosted) in process.groups {
            self.left_behind.insert((group, Member { node, storage }), hosted.shadow);
        }
    }

    /// Takes the power from a machine: what was not flushed is there or not.
    pub(crate) fn lose_power(&mut self, id: NodeId) {
        self.kill(id);
        let seed = self.rng.next();
        let lossy = self.settings.flush != FlushPolicy::Always;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.boots += 1;
        machine.fs.lose_power(seed);
        machine.lossy |= lossy;
        let worked = |file: &NodeFile| file.identity.run.is_some() && file.identity.clean_run != file.identity.run;
        machine.lost |= lossy && machine.file.as_ref().is_some_and(worked);
    }

    /// Replaces a machine's disk by an empty one.
    pub(crate) fn wipe(&mut self, id: NodeId) {
        self.kill(id);
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.fs = MemFs::new();
        machine.file = None;
        (machine.lossy, machine.lost, machine.put_back) = (false, false, false);
    }

    /// Copies a machine's disk, to be put back later.
    pub(crate) fn back_up(&mut self, id: NodeId) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.backup = Some((machine.fs.fork(), machine.file.clone()));
    }

    /// Puts an old copy of the disk back. False if there is none, or none of an earlier run: that a disk goes back to an earlier state
    /// of the run that is registered is more than the protocol can notice, and promises to.
    pub(crate) fn put_back(&mut self, id: NodeId) -> bool {
        let registered = self.store.node(id).map(|found| found.run());
        let is_older = |machine: &Machine| {
            let run_of = |file: &Option<NodeFile>| file.as_ref().and_then(|file| file.identity.run);
            machine.backup.as_ref().is_some_and(|(_, file)| run_of(file) != registered)
        };
        if !self.machines.get(&id).is_some_and(is_older) {
            return false;
        }
        self.kill(id);
        let Some(machine) = self.machines.get_mut(&id) else { return false };
        let Some((fs, file)) = machine.backup.take() else { return false };
        (machine.fs, machine.file) = (fs, file);
        (machine.lossy, machine.put_back) = (true, true);
        true
    }

    /// The process is stopped for a while, threads and all.
    pub(crate) fn pause(&mut self, id: NodeId, time: Nanos) {
        let until = self.now + time;
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.process.is_some()) else { return };
        if is_broken(Rule::C7) {
            machine.clocks.offset =
                machine.clocks.offset.saturating_sub(until.saturating_sub(machine.paused_until.max(self.now)));
        }
        machine.paused_until = machine.paused_until.max(until);
        let leads = machine.process.as_ref().is_some_and(Process::leads);
        self.counts.leaders_lost += u64::from(leads && time > ms(600));
    }

    /// Tells a process to stop in order; it is given a second.
    pub(crate) fn stop(&mut self, id: NodeId) {
        let Some(run) = self.machines.get(&id).and_then(Machine::run) else { return };
        let Some(process) = self.machines.get_mut(&id).and_then(|machine| machine.process.as_mut()) else { return };
        process.stopping = true;
        for group in self.groups() {
            self.tell(id, run, group, Event::Stop);
        }
    }

    /// Ends a process that has handed over what it could.
    pub(super) fn end_if_ready(&mut self, id: NodeId) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let ready = |process: &Process| process.stopping && process.groups.values().all(|hosted| hosted.ready_to_stop);
        if !machine.process.as_ref().is_some_and(ready) {
            return;
        }
        let Some(process) = machine.process.take() else { return };
        let run = process.sender.run;
        let mut clean = true;
        let Sender { node, storage, .. } = process.sender;
        let mut log_ends = BTreeMap::new();
        for (group, hosted) in process.groups {
            log_ends.insert(group, hosted.group.engine().log_end());
            self.left_behind.insert((group, Member { node, storage }), hosted.shadow);
            clean &= hosted.group.close().is_ok();
        }
        if let Some(file) = machine.file.as_mut().filter(|_| clean) {
            file.identity.clean_run = Some(run);
            file.log_ends = log_ends;
        }
        machine.fs.crash_process();
        if let Some(session) = process.session {
            self.store.end_session(session);
        }
        self.counts.clean_ends += 1;
        self.note(|| format!("{id}: run {run} ends in order"));
        self.hang_up(id);
        self.publish_nodes();
    }
}

/// The damaged replica is moved aside.
fn remove_all(fs: &MemFs, dir: &Path) {
    for name in fs.list(dir).unwrap_or_default() {
        let _ = fs.remove(&dir.join(name));
    }
    let _ = fs.sync_dir(dir);
}
