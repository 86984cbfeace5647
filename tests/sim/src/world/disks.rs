//! Flush threads, as the server runs them: requests that come while a flush runs share the next one.

use super::*;

impl World {
    pub(super) fn want_flush(&mut self, id: NodeId, group: GroupId, mark: Option<(Lsn, u64)>, probe: Option<u64>) {
        let now = self.now;
        let gap = match self.settings.flush {
            FlushPolicy::Always => 0,
            _ => u64::try_from(self.settings.timing.flush_interval.as_nanos()).unwrap_or(u64::MAX),
        };
        let Some(run) = self.machines.get(&id).and_then(Machine::run) else { return };
        let Some(hosted) = self.machines.get_mut(&id).and_then(|machine| machine.hosted_mut(group)) else { return };
        let disk = &mut hosted.disk;
        disk.wanted = mark.or(disk.wanted);
        disk.probe = probe.or(disk.probe);
        if !disk.busy {
            disk.busy = true;
            let begins = if disk.probe.is_some() { now } else { now.max(disk.last + gap) };
            self.queue.push(begins, Happening::FlushBegins { node: id, run, group });
        }
    }

    pub(super) fn flush_begins(&mut self, id: NodeId, run: RunId, group: GroupId) {
        let takes = self.rng.range(50_000, 2_000_000);
        let early = self.rng.chance(500);
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.run() == Some(run)) else { return };
        let hangs_until = machine.disk_hangs_until;
        let Some(hosted) = machine.hosted_mut(group) else { return };
        let (mark, probe) = (hosted.disk.wanted.take(), hosted.disk.probe.take());
        // What is on disk when a flush is half done is anybody's guess: everything at its beginning, or nothing before its end.
        let synced = mark.is_some() && early && hosted.disk.flusher.flush().is_ok();
        let ends = hangs_until.max(now) + takes;
        self.queue.push(ends, Happening::FlushEnds { node: id, run, group, mark, probe, synced });
    }

    pub(super) fn flush_ends(
        &mut self,
        id: NodeId,
        run: RunId,
        group: GroupId,
        mark: Option<(Lsn, u64)>,
        probe: Option<u64>,
        synced: bool,
    ) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.run() == Some(run)) else { return };
        let Some(hosted) = machine.hosted_mut(group) else { return };
        hosted.disk.busy = false;
        hosted.disk.last = now;
        let event = match mark {
            Some((log_end, truncations)) if synced || hosted.disk.flusher.flush().is_ok() => {
                Some(Event::Flushed { log_end, truncations })
            }
            Some(_) => Some(Event::StorageFailed),
            None => None,
        };
        let more = hosted.disk.wanted.is_some() || hosted.disk.probe.is_some();
        for event in event.into_iter().chain(probe.map(|id| Event::Probed { id })) {
            self.schedule(0, Happening::Tell { node: id, run, group, event });
        }
        if more {
            self.want_flush(id, group, None, None);
        }
    }
}
