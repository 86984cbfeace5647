use simplekv_types::{Epoch, Lineage};

use super::*;
use crate::config::Recovered;

const STORAGE: StorageId = StorageId(9);

fn log(end: u64, epochs: &[(u64, u64)]) -> Log {
    let epochs = epochs.iter().map(|(epoch, start)| (Epoch(*epoch), Lsn(*start))).collect();
    Log::new(Recovered { log_end: Lsn(end), epochs, ..Recovered::empty(Lineage(0)) })
}

fn sender(run: u64) -> Sender {
    Sender { node: NodeId(2), storage: STORAGE, run: RunId(run) }
}

/// An acknowledgement; the refusal, if there is one, as (refused, hint, epoch of the hint).
fn ack(verified_end: u64, echo: u64, reject: Option<(u64, u64, u64)>) -> AppendAck {
    let reject = reject.map(|(refused, hint, epoch)| Reject {
        refused: Lsn(refused),
        hint: Lsn(hint),
        hint_epoch: Epoch(epoch),
    });
    AppendAck { verified_end: Lsn(verified_end), echo: Tick(echo), sent_at: Tick(1), reject }
}

fn streaming(next: u64) -> Progress {
    let mut progress = Progress::new(NodeId(2), Lsn(next));
    assert!(progress.identify(sender(5)));
    progress
}

#[test]
fn a_refusal_leads_back_to_where_the_logs_can_agree() {
    // Ours: epoch 1 up to 10, epoch 2 up to 15, epoch 4 since. Theirs: epoch 1 up to 10, epoch 3 up to 12.
    let log = log(20, &[(1, 0), (2, 10), (4, 15)]);
    let mut progress = streaming(20);
    progress.on_ack(Tick(11), &log, &ack(0, 10, Some((20, 12, 3))));
    assert_eq!(progress.next, Lsn(12), "our epoch 2 may agree up to 12; it does not, as the next answer tells");
    progress.flow = Flow::Probing { asked: Some((Tick(11), Lsn(12))) };
    progress.on_ack(Tick(13), &log, &ack(0, 11, Some((12, 10, 1))));
    assert_eq!(progress.next, Lsn(10));
    progress.flow = Flow::Probing { asked: Some((Tick(13), Lsn(10))) };
    progress.on_ack(Tick(15), &log, &ack(10, 13, None));
    assert_eq!((progress.flow, progress.next), (Flow::Streaming { since: Tick(15) }, Lsn(10)));
}

#[test]
fn later_epochs_of_ours_are_skipped_at_once() {
    let log = log(90, &[(1, 0), (5, 10), (6, 20)]);
    let mut progress = streaming(90);
    progress.on_ack(Tick(2), &log, &ack(0, 1, Some((90, 50, 2))));
    assert_eq!(progress.next, Lsn(10));
}

#[test]
fn refusals_of_one_volley_are_dealt_with_once() {
    let log = log(90, &[(1, 0)]);
    let mut progress = streaming(60);
    progress.on_ack(Tick(20), &log, &ack(0, 10, Some((60, 50, 1))));
    progress.flow = Flow::Probing { asked: Some((Tick(20), Lsn(50))) };
    progress.on_ack(Tick(21), &log, &ack(0, 20, Some((70, 50, 1))));
    assert_eq!(progress.flow, Flow::Probing { asked: Some((Tick(20), Lsn(50))) });
    progress.on_ack(Tick(22), &log, &ack(50, 20, None));
    progress.on_ack(Tick(23), &log, &ack(50, 12, Some((80, 50, 1))));
    assert_eq!(progress.flow, Flow::Streaming { since: Tick(22) });
}

#[test]
fn a_new_run_starts_over_but_must_hold_what_it_acknowledged() {
    let log = log(90, &[(1, 0)]);
    let mut progress = streaming(90);
    progress.lead_until = Tick(1000);
    progress.holder_until = Tick(900);
    progress.on_ack(Tick(2), &log, &ack(80, 1, None));
    assert!(progress.identify(sender(6)));
    assert_eq!((progress.matched, progress.holder_until, progress.lead_until), (Lsn(0), Tick(0), Tick(1000)));
    assert!(!progress.identify(sender(5)), "the old process is gone");
    assert_eq!(progress.next, Lsn(80), "first it is asked about what it had");
    progress.flow = Flow::Probing { asked: Some((Tick(3), Lsn(80))) };
    let finding = progress.on_ack(Tick(4), &log, &ack(0, 3, Some((80, 70, 1))));
    assert_eq!(finding, Finding::Lied { acknowledged: Lsn(80) });
    progress.on_ack(Tick(5), &log, &ack(90, 4, None));
    assert_eq!(progress.matched, Lsn(0), "its word does not count any more");
}

#[test]
fn another_incarnation_promised_nothing() {
    let log = log(90, &[(1, 0)]);
    let mut progress = streaming(90);
    progress.lead_until = Tick(1000);
    progress.on_ack(Tick(2), &log, &ack(80, 1, None));
    assert!(progress.identify(Sender { storage: StorageId(10), ..sender(6) }));
    assert_eq!((progress.matched, progress.lead_until), (Lsn(0), Tick(0)));
    progress.flow = Flow::Probing { asked: Some((Tick(3), Lsn(90))) };
    assert_eq!(progress.on_ack(Tick(4), &log, &ack(0, 3, Some((90, 0, 0)))), Finding::Ordinary);
}

#[test]
fn the_window_bounds_what_is_on_its_way() {
    let window = Window { appends: 2, records: 100, append_bytes: 1 };
    let mut progress = streaming(0);
    assert!(progress.has_room(Tick(1), &window));
    progress.sent(Lsn(10));
    progress.sent(Lsn(20));
    assert!(!progress.has_room(Tick(1), &window));
    progress.on_ack(Tick(2), &log(300, &[(1, 0)]), &ack(10, 1, None));
    assert!(progress.has_room(Tick(2), &window));
    progress.sent(Lsn(200));
    progress.sent_less(Lsn(150), Tick(60));
    assert_eq!(progress.next, Lsn(150));
    assert!(!progress.has_room(Tick(2), &window), "too many records on their way");
    progress.on_ack(Tick(3), &log(300, &[(1, 0)]), &ack(150, 1, None));
    progress.sent(Lsn(300));
    progress.sent_less(Lsn(150), Tick(60));
    assert!(!progress.has_room(Tick(3), &window) && progress.has_room(Tick(60), &window), "the driver could not send");
}
