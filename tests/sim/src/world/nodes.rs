//! Stopping and hurting machines.

use simplekv_engine::fs::MemFs;
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::Sender;

use super::*;
use crate::machine::{NodeFile, Process};

impl World {
    /// Kills a node's process. The page cache lives on.
    pub(crate) fn kill(&mut self, id: NodeId) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        (machine.paused_until, machine.begins) = (0, None);
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
    /// of the run that is registered, were it its very beginning, is more than the protocol can notice, and promises to.
    pub(crate) fn put_back(&mut self, id: NodeId) -> bool {
        let registered = self.store.node(id);
        let is_older = |machine: &Machine| {
            let Some((_, file)) = &machine.backup else { return false };
            let (Some(file), Some(registered)) = (file, &registered) else { return true };
            file.identity.run != Some(registered.run()) && !file.identity.tried.contains(&registered.record.nonce)
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
