//! Starting a node as the server does, and whom the cluster takes it for.

use std::path::Path;
use std::sync::Arc;

use simplekv_cluster::{Decision, RenewReason, Replica, Serving, StartFacts, has_ended, resume_or_renew};
use simplekv_engine::fs::{Fs, MemFs};
use simplekv_engine::{Engine, OpenError, Options, Recovery, ReplicaIdentity, Verdict, assign_storage};
use simplekv_meta::Cas;
use simplekv_server::group::{Group, Replayed};
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::Sender;
use simplekv_types::{NodeAddresses, Registration};

use super::*;
use crate::machine::{Disk, Hosted, NodeFile, Process, directory};
use crate::oracle::{Applying, Shadow};

/// Values beyond are refused.
const VALUE_BYTES: usize = 1 << 16;

/// What a replica's directory came to.
pub(super) enum Opened {
    Whole(Box<(Engine, Replayed)>),
    Damaged(String),
    Absent,
}

impl World {
    /// Starts a node's process as the server does: decide who it is, register, then take part.
    pub(super) fn start(&mut self, id: NodeId) {
        let Some(machine) =
            self.machines.get(&id).filter(|machine| machine.process.is_none() && machine.begins.is_none())
        else {
            return;
        };
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
                let reason = match decision {
                    Decision::Renew(reason) => reason,
                    Decision::Resume => RenewReason::NewDirectory,
                };
                let is_other = reason == RenewReason::OtherRun;
                // A later run than the registered one was noted here: it is the store that went back.
                let noted = old.as_ref().and_then(|file| file.identity.run);
                let went_back = noted > registration.as_ref().map(Registration::run);
                assert!(!is_other || machine.lossy || went_back, "{id} is intact and is taken for another");
                self.note(|| format!("{id}: another incarnation ({reason:?})"));
                let ended = |file: &&NodeFile| has_ended(reason, &file.identity, registration.as_ref());
                let ended = old.as_ref().filter(ended).map(|file| file.identity.storage);
                let mut file = self.renew(id, old.as_ref(), &groups, &opened);
                file.previous.extend(ended);
                file
            }
        };
        drop(opened);
        self.register(id, registration.as_ref(), file);
    }

    /// Opens a replica's directory, if there is one.
    pub(super) fn open(&self, id: NodeId, file: Option<&NodeFile>, group: GroupId) -> Opened {
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
            replayed.record(applied.lsn, applied.time, &applied.record);
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
        file.previous = old.map(|old| old.previous.clone()).unwrap_or_default();
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
            prev_storages: file.previous.clone(),
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
        // It reads its logs once more before anybody is told of it.
        self.machines.get_mut(&id).expect("it is being started").begins = Some(run);
        let longest = if self.rng.chance(500) { ms(3) } else { ms(200) };
        let after = self.rng.below(longest);
        self.schedule(after, Happening::Host { node: id, run, file: Box::new(file) });
    }

    fn start_again(&mut self, id: NodeId) {
        self.machines.get_mut(&id).expect("it is being started").fs.crash_process();
        let after = self.rng.below(ms(400));
        self.schedule(after, Happening::Start { node: id });
    }

    /// Begins to take part.
    pub(super) fn host(&mut self, id: NodeId, run: RunId, mut file: NodeFile) {
        let begins = self.machines.get_mut(&id).and_then(|machine| machine.begins.take_if(|begins| *begins == run));
        if begins.is_none() {
            return;
        }
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
                Opened::Whole(opened) => self.replica(id, sender, group, self.store.group(group).0.lineage, *opened),
                // Its disk may fail or run full now as at any other time.
                Opened::Damaged(what) => {
                    self.note(|| format!("{id}: {group} cannot be opened any more: {what}"));
                    return self.end(id);
                }
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

    /// `lineage`: what a replica begins with that has nothing yet.
    pub(super) fn replica(
        &mut self,
        id: NodeId,
        sender: Sender,
        group: GroupId,
        lineage: Lineage,
        opened: (Engine, Replayed),
    ) -> Hosted {
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
        let now = self.now;
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
        let Serving { lineage, epoch, .. } = replica.serving();
        oracle.apply(Applying { who: id, group, lineage, epoch, applied, now }, &mut shadow, &log);
        let mut hosted = Group::new(group, replica, engine, replayed, Arc::clone(&published), VALUE_BYTES);
        let (map, version) = self.store.slots();
        let clock = self.machines.get(&id).expect("it is being started").clocks.read(now);
        hosted.slot_map_seen(&clock, Arc::new(map), version);
        Hosted {
            group: hosted,
            published,
            reader,
            log,
            disk: Disk { flusher, wanted: None, probe: None, busy: false, last: 0 },
            wakes_at: None,
            shadow,
            ready_to_stop: false,
        }
    }
}

/// The damaged replica is moved aside.
pub(super) fn remove_all(fs: &MemFs, dir: &Path) {
    for name in fs.list(dir).unwrap_or_default() {
        let _ = fs.remove(&dir.join(name));
    }
    let _ = fs.sync_dir(dir);
}
