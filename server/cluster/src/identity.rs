//! Whether a starting node is still who it was.
//!
//! A storage incarnation is a promise: everything acknowledged under it is still there. A node that cannot keep the promise comes
//! back under a new one, as a replica that never acknowledged anything; the log it finds is then only a source to catch up from.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{FlushPolicy, Registration, RunId, StorageId};

/// What a data directory says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskIdentity {
    /// The incarnation of this storage.
    pub storage: StorageId,
    /// The last run that may have changed anything here; `None` if none ever did. Written after the registration succeeded and
    /// before the first word to a peer.
    pub run: Option<RunId>,
    /// The nonces flushed here, each before a registration was tried with it, since `run` was noted.
    pub tried: Vec<u64>,
    /// The machine's boot the last run worked in.
    pub boot_id: String,
    /// The flush policy of the last run.
    pub flush: FlushPolicy,
    /// The run that shut down cleanly, if its marker is there.
    pub clean_run: Option<RunId>,
}

/// What is found at the start, besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFacts {
    /// The machine's boot now.
    pub boot_id: String,
    /// Whether the scan of any log found corruption in what had been flushed.
    pub corrupt: bool,
    /// Whether the directory holds the mark of a failed flush.
    pub poison_file: bool,
}

/// What a starting node does about its storage incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing can be missing: go on as the same replica.
    Resume,
    /// Draw a new incarnation: to the cluster this is another replica.
    Renew(RenewReason),
}

/// Why a new incarnation is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewReason {
    /// The directory has no identity: it is new, or was wiped.
    NewDirectory,
    /// The node is not registered.
    NotRegistered,
    /// Another incarnation is registered.
    OtherStorage,
    /// The directory is not what the registered run left: it is a copy, or was restored from a backup.
    OtherRun,
    /// A flush failed here.
    Poisoned,
    /// Flushed records are corrupt.
    Corrupt,
    /// The machine went down before everything was flushed.
    Unflushed,
}

/// Decides whether a directory's incarnation may go on, given what the metadata store says about the node *now* (a linearizable
/// read) and what was found in the directory, which must be locked.
///
/// The registered run must be the one on disk. The one exception is a registration that carries a nonce tried since: then this
/// directory was about to begin that run and stopped before it could note that it had, so nothing was done in between. All nonces
/// tried since count, not the last alone: a start may end after it has flushed its nonce and before it could register with it, and
/// an attempt of a start before may arrive late.
#[must_use]
pub fn resume_or_renew(
    disk: Option<&DiskIdentity>,
    registration: Option<&Registration>,
    facts: &StartFacts,
) -> Decision {
    match reason_to_renew(disk, registration, facts) {
        None => Decision::Resume,
        Some(reason) => Decision::Renew(reason),
    }
}

fn reason_to_renew(
    disk: Option<&DiskIdentity>,
    registration: Option<&Registration>,
    facts: &StartFacts,
) -> Option<RenewReason> {
    let Some(disk) = disk else { return Some(RenewReason::NewDirectory) };
    let Some(registration) = registration else { return Some(RenewReason::NotRegistered) };
    if registration.record.storage != disk.storage {
        return Some(RenewReason::OtherStorage);
    }
    let noted = disk.run == Some(registration.run());
    let about_to_begin = disk.tried.contains(&registration.record.nonce);
    let about_to_begin = about_to_begin && !is_broken(Rule::C64);
    if !noted && !about_to_begin && !is_broken(Rule::C39) {
        return Some(RenewReason::OtherRun);
    }
    if (registration.record.poisoned || facts.poison_file) && !is_broken(Rule::C41) {
        return Some(RenewReason::Poisoned);
    }
    if facts.corrupt {
        return Some(RenewReason::Corrupt);
    }
    let everything_flushed = disk.flush == FlushPolicy::Always;
    // The marker must name exactly the run that worked here last; one from before it says nothing.
    let stopped_cleanly = disk.clean_run.is_some() && (disk.clean_run == disk.run || is_broken(Rule::C40));
    // A system that does not name its boots might have had another one in between.
    let page_cache_alive = !facts.boot_id.is_empty() && disk.boot_id == facts.boot_id;
    // A directory that no run ever worked in has nothing to lose.
    let untouched = disk.run.is_none();
    if everything_flushed || stopped_cleanly || page_cache_alive || untouched {
        None
    } else {
        Some(RenewReason::Unflushed)
    }
}

/// Whether the incarnation that a directory gives up has ended for certain: nobody speaks for it any more, and what it left is here.
/// The directory is locked, so that is so if it is the one the incarnation worked in last. A copy proves nothing about the original,
/// whose process may be alive, or which may lie on a shelf with more in it.
#[must_use]
pub fn has_ended(reason: RenewReason, disk: &DiskIdentity, registration: Option<&Registration>) -> bool {
    match reason {
        // Found only where the registered run is the one noted here, or was about to be (C64): nobody else has worked since.
        RenewReason::Poisoned | RenewReason::Corrupt | RenewReason::Unflushed => true,
        // A run later than the registered one was noted here: it is the metadata store that has gone back. An earlier one: this is a
        // copy, or a backup that was put back.
        RenewReason::OtherRun => registration.is_some_and(|registered| disk.run > Some(registered.run())),
        // The node has gone on elsewhere since, as another incarnation; this one's last run may have been there or here.
        RenewReason::OtherStorage => false,
        // Nothing to compare with, or nothing here that could have ended.
        RenewReason::NotRegistered | RenewReason::NewDirectory => false,
    }
}

#[cfg(test)]
mod tests {
    use simplekv_types::{NodeAddresses, NodeRecord, Revision};

    use super::*;

    const STORAGE: StorageId = StorageId(7);

    /// A directory whose run 30 was killed in boot `a`, under a policy that does not flush everything.
    fn disk() -> DiskIdentity {
        DiskIdentity {
            storage: STORAGE,
            run: Some(RunId(30)),
            tried: vec![555],
            boot_id: "a".to_owned(),
            flush: FlushPolicy::Replicated,
            clean_run: None,
        }
    }

    fn registration(revision: u64, nonce: u64) -> Registration {
        Registration {
            record: NodeRecord {
                storage: STORAGE,
                run: None,
                nonce,
                prev_storages: Vec::new(),
                poisoned: false,
                addresses: NodeAddresses::default(),
                zone: String::new(),
                flush: FlushPolicy::Replicated,
            },
            revision: Revision(revision),
        }
    }

    fn found(boot_id: &str) -> StartFacts {
        StartFacts { boot_id: boot_id.to_owned(), corrupt: false, poison_file: false }
    }

    fn decide(disk: &DiskIdentity, registration: &Registration, facts: &StartFacts) -> Decision {
        resume_or_renew(Some(disk), Some(registration), facts)
    }

    #[test]
    fn a_killed_process_resumes_because_the_page_cache_lives() {
        assert_eq!(decide(&disk(), &registration(30, 555), &found("a")), Decision::Resume);
    }

    #[test]
    fn a_power_loss_costs_the_identity_unless_everything_was_flushed() {
        let registered = registration(30, 555);
        assert_eq!(decide(&disk(), &registered, &found("b")), Decision::Renew(RenewReason::Unflushed));
        let always = DiskIdentity { flush: FlushPolicy::Always, ..disk() };
        assert_eq!(decide(&always, &registered, &found("b")), Decision::Resume);
        let clean = DiskIdentity { clean_run: Some(RunId(30)), ..disk() };
        assert_eq!(decide(&clean, &registered, &found("b")), Decision::Resume);
        let clean_earlier = DiskIdentity { clean_run: Some(RunId(20)), ..disk() };
        assert_eq!(decide(&clean_earlier, &registered, &found("b")), Decision::Renew(RenewReason::Unflushed));
    }

    #[test]
    fn a_boot_without_a_name_may_be_another_one() {
        let nameless = DiskIdentity { boot_id: String::new(), ..disk() };
        assert_eq!(
            decide(&nameless, &registration(30, 555), &found("")),
            Decision::Renew(RenewReason::Unflushed),
            "the machine may have lost power"
        );
    }

    /// C36: the same node number, another disk.
    #[test]
    fn a_wiped_directory_is_another_replica() {
        let registered = registration(30, 555);
        assert_eq!(resume_or_renew(None, Some(&registered), &found("a")), Decision::Renew(RenewReason::NewDirectory));
        let other = DiskIdentity { storage: StorageId(8), ..disk() };
        assert_eq!(decide(&other, &registered, &found("a")), Decision::Renew(RenewReason::OtherStorage));
    }

    /// C39: a backup of run 20, with its valid clean marker, put back after run 30.
    #[test]
    fn an_old_backup_is_another_replica() {
        let backup = DiskIdentity { run: Some(RunId(20)), clean_run: Some(RunId(20)), tried: vec![111], ..disk() };
        assert_eq!(decide(&backup, &registration(30, 555), &found("a")), Decision::Renew(RenewReason::OtherRun));
    }

    /// C64: run 40 was registered with the nonce on disk, but the process died, or never learned the outcome, before it could note
    /// the run. Nothing was done under run 40, so what run 30 left decides.
    #[test]
    fn a_crash_between_registration_and_note_keeps_the_identity() {
        let about_to_begin = DiskIdentity { tried: vec![777], ..disk() };
        assert_eq!(decide(&about_to_begin, &registration(40, 777), &found("a")), Decision::Resume);
        assert_eq!(
            decide(&about_to_begin, &registration(40, 778), &found("a")),
            Decision::Renew(RenewReason::OtherRun)
        );
        let clean = DiskIdentity { clean_run: Some(RunId(30)), ..about_to_begin };
        assert_eq!(decide(&clean, &registration(40, 777), &found("b")), Decision::Resume);
        let first = DiskIdentity { run: None, tried: vec![777], ..disk() };
        assert_eq!(decide(&first, &registration(40, 777), &found("b")), Decision::Resume, "nothing was ever written");
    }

    /// C64, twice: run 40 was registered and not noted; the next start flushed its own nonce and died before it could register.
    #[test]
    fn crashes_in_two_starts_in_a_row_keep_the_identity() {
        let twice = DiskIdentity { tried: vec![777, 888], ..disk() };
        assert_eq!(decide(&twice, &registration(40, 777), &found("a")), Decision::Resume);
        assert_eq!(decide(&twice, &registration(50, 888), &found("a")), Decision::Resume);
        assert_eq!(decide(&twice, &registration(50, 999), &found("a")), Decision::Renew(RenewReason::OtherRun));
    }

    /// C41: after a failed flush the pages look clean although they are not on disk.
    #[test]
    fn a_poisoned_or_corrupt_directory_is_not_trusted() {
        let mut registered = registration(30, 555);
        let poison_file = StartFacts { poison_file: true, ..found("a") };
        assert_eq!(decide(&disk(), &registered, &poison_file), Decision::Renew(RenewReason::Poisoned));
        let corrupt = StartFacts { corrupt: true, ..found("a") };
        assert_eq!(decide(&disk(), &registered, &corrupt), Decision::Renew(RenewReason::Corrupt));
        registered.record.poisoned = true;
        assert_eq!(decide(&disk(), &registered, &found("a")), Decision::Renew(RenewReason::Poisoned));
    }

    /// C44: the node comes back with a copy of its directory, or with a backup of it; the original may live behind a partition.
    #[test]
    fn a_copy_proves_nothing_about_the_original() {
        let registered = registration(30, 555);
        let ended =
            |run: u64, reason| has_ended(reason, &DiskIdentity { run: Some(RunId(run)), ..disk() }, Some(&registered));
        for reason in [RenewReason::Poisoned, RenewReason::Corrupt, RenewReason::Unflushed] {
            assert!(ended(30, reason), "{reason:?}");
            // C64: run 30 is registered with a nonce that was tried here, and was not noted.
            assert!(ended(20, reason), "{reason:?}");
        }
        assert!(!ended(20, RenewReason::OtherRun), "a backup from before run 30");
        assert!(ended(40, RenewReason::OtherRun), "the metadata store has forgotten run 40");
        assert!(!ended(20, RenewReason::OtherStorage));
        assert!(!has_ended(RenewReason::NotRegistered, &disk(), None));
    }
}
