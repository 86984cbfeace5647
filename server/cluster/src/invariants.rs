//! What must hold between the fields of a replica after every step.

use simplekv_types::Lsn;

use crate::replica::{Replica, RoleState};

/// Panics if the replica contradicts itself. Called after each step where debug assertions are on.
pub(crate) fn check(replica: &Replica) {
    let core = &replica.core;
    let log = &core.log;
    assert!(log.start <= core.high_watermark || log.start == Lsn::ZERO, "the log begins above what is committed");
    assert!(core.high_watermark <= log.end, "committed {} of {}", core.high_watermark, log.end);
    assert!(log.flushed_end <= log.end, "flushed {} of {}", log.flushed_end, log.end);
    assert!(log.last_epoch() <= core.epoch, "a record of epoch {} in epoch {}", log.last_epoch(), core.epoch);
    match &replica.role {
        RoleState::Follower(follower) => {
            assert!(follower.verified_end <= log.end, "verified {} of {}", follower.verified_end, log.end);
            assert!(core.epoch_persisted || follower.verified_end == Lsn::ZERO, "verified in an epoch not on disk");
        }
        RoleState::Leader(leader) => {
            let me = core.me();
            let required = leader.in_sync.required();
            assert!(required.contains(&me), "a leader counts on itself");
            let confirmed = &leader.in_sync.record.in_sync;
            assert!(confirmed.iter().all(|member| required.contains(member)), "an in-sync replica is not waited for");
            for member in required {
                let held = leader.matched(core, *member);
                assert!(held <= log.end, "{member} acknowledged {held} of {}", log.end);
                // What was committed stays committed when a replica restarts and has to prove itself again.
            }
            if leader.is_activated() {
                assert!(leader.gate.is_open(), "activated behind a closed gate");
                assert!(
                    leader.epoch_start_end().is_some_and(|end| core.high_watermark >= end),
                    "activated uncommitted"
                );
            }
            assert!(leader.in_sync.record.epoch == core.epoch, "the record is of the epoch led");
        }
        RoleState::Halted => (),
    }
}
