use std::cell::RefCell;
use std::rc::Rc;

use crate::session::Stale;
use crate::{Body, Request};

use super::*;

/// How often somebody was woken.
#[derive(Clone, Default)]
struct Bell(Rc<RefCell<u32>>);

impl Wake for Bell {
    fn wake(&self) {
        *self.0.borrow_mut() += 1;
    }
}

/// A table, and connections as its drivers have them.
#[derive(Clone)]
struct Tracking(Rc<RefCell<Table<Bell>>>);

struct Tracker {
    tracking: Tracking,
    id: u64,
    bell: Bell,
}

impl Tracking {
    fn new() -> Self {
        Self(Rc::default())
    }

    fn with(bounds: Bounds) -> Self {
        Self(Rc::new(RefCell::new(Table::with(bounds))))
    }

    fn tracker(&self, id: u64) -> Tracker {
        let bell = Bell::default();
        self.0.borrow_mut().join(id, bell.clone());
        Tracker { tracking: self.clone(), id, bell }
    }

    fn read(&self, id: u64, command: &Command) -> bool {
        self.0.borrow_mut().read(id, command)
    }

    fn changed(&self, key: &[u8], by: Option<u64>) {
        self.0.borrow_mut().changed(key, by);
    }

    fn everything(&self) {
        self.0.borrow_mut().everything();
    }

    fn has(&self, id: u64) -> bool {
        self.0.borrow().has(id)
    }
}

impl Tracker {
    fn set_terms(&self, terms: Option<TrackingTerms>) {
        self.tracking.0.borrow_mut().set_terms(self.id, terms);
    }

    fn next_at_once(&self) -> Option<Told> {
        self.tracking.0.borrow_mut().take(self.id)
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.tracking.0.borrow_mut().leave(self.id);
    }
}

fn command(line: &str) -> Command {
    let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let Ok(Request { body: Body::Data(command), .. }) = Request::parse(args) else {
        panic!("{line} is not about data")
    };
    command
}

fn terms(prefixes: &[&'static str]) -> TrackingTerms {
    let prefixes = prefixes.iter().map(|prefix| Bytes::from_static(prefix.as_bytes())).collect();
    TrackingTerms { prefixes: Some(prefixes), ..TrackingTerms::default() }
}

fn tracker(tracking: &Tracking, id: u64, terms: TrackingTerms) -> Tracker {
    let tracker = tracking.tracker(id);
    tracker.set_terms(Some(terms));
    tracker
}

fn plain(tracking: &Tracking, id: u64) -> Tracker {
    tracker(tracking, id, TrackingTerms::default())
}

/// What the connection is told of what it tracks: the keys, or `all`; nothing if it is not told.
fn told(tracker: &Tracker) -> Vec<String> {
    words(tracker.next_at_once().map_or(Stale::NOTHING, |told| told.own))
}

fn words(stale: Stale) -> Vec<String> {
    match stale {
        Stale::Everything => vec!["all".into()],
        Stale::Keys(keys) => keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect(),
    }
}

fn is_empty(tracking: &Tracking) -> bool {
    let table = tracking.0.borrow();
    let counts = [table.readers, table.key_bytes, table.prefixes.len(), table.lengths.len()];
    assert_eq!(table.trackers, table.members.values().filter(|member| member.terms.is_some()).count());
    // What was crossed out may stand among the oldest for a while.
    table.keys.is_empty() && table.oldest.len() <= 64 && counts == [0; 4]
}

#[test]
fn who_has_read_a_key_is_told_once_that_it_changed() {
    let tracking = Tracking::new();
    let (one, other) = (plain(&tracking, 1), plain(&tracking, 2));
    assert!(tracking.read(1, &command("GET a")) && tracking.read(2, &command("MGET a b")));
    tracking.changed(b"c", None);
    assert_eq!(told(&one), [""; 0], "nobody has read it");
    tracking.changed(b"a", None);
    tracking.changed(b"a", None);
    assert_eq!((told(&one), told(&other)), (vec!["a".to_owned()], vec!["a".to_owned()]));
    tracking.changed(b"a", None);
    assert_eq!(told(&one), [""; 0], "it has not read it again");
    tracking.changed(b"b", None);
    assert_eq!(told(&other), ["b"]);
    assert!(is_empty(&tracking));
}

#[test]
fn what_a_command_changes_is_not_read_by_it() {
    let tracking = Tracking::new();
    let reader = plain(&tracking, 1);
    tracking.read(1, &command("GETDEL a"));
    assert!(is_empty(&tracking));
    tracking.read(1, &command("ATOMIC 0 2 GET b 3 SET c 1"));
    for key in [b"a", b"b", b"c"] {
        tracking.changed(key, None);
    }
    assert_eq!(told(&reader), ["b"]);
}

#[test]
fn one_that_does_not_track_is_told_nothing_and_says_so() {
    let tracking = Tracking::new();
    let idle = tracking.tracker(1);
    assert!(!tracking.read(1, &command("GET a")) && !tracking.read(9, &command("GET a")));
    idle.set_terms(Some(TrackingTerms::default()));
    tracking.read(1, &command("GET a"));
    let other = plain(&tracking, 2);
    idle.set_terms(None);
    tracking.changed(b"a", None);
    tracking.everything();
    assert_eq!((told(&idle), told(&other)), (vec![], vec!["all".to_owned()]));
    tracking.read(2, &command("GET a"));
    drop(other);
    assert!(is_empty(&tracking), "with the last that tracks goes all that was taken down");
    assert!(tracking.has(1) && !tracking.has(2));
}

#[test]
fn prefixes_are_told_of_every_change_without_any_reading() {
    let tracking = Tracking::new();
    let (some, all) = (tracker(&tracking, 1, terms(&["user:", "u2"])), tracker(&tracking, 2, terms(&[""])));
    for key in ["user:1", "user", "u2", "u", "user:1"] {
        tracking.changed(key.as_bytes(), None);
    }
    assert_eq!(told(&some), ["u2", "user:1"]);
    assert_eq!(told(&all), ["u", "u2", "user", "user:1"]);
    some.set_terms(Some(terms(&["u2"])));
    tracking.changed(b"user:2", None);
    tracking.changed(b"u2", None);
    assert_eq!(told(&some), ["u2"]);
    drop((some, all));
    assert!(is_empty(&tracking));
}

#[test]
fn own_changes_are_not_told_to_one_that_does_not_want_it() {
    let tracking = Tracking::new();
    let own = tracker(&tracking, 1, TrackingTerms { no_loop: true, ..TrackingTerms::default() });
    let broad = tracker(&tracking, 2, TrackingTerms { no_loop: true, ..terms(&[""]) });
    tracking.read(1, &command("GET a"));
    tracking.changed(b"a", Some(1));
    assert_eq!((told(&own), told(&broad)), (vec![], vec!["a".to_owned()]));
    tracking.changed(b"a", Some(2));
    assert_eq!((told(&own), told(&broad)), (vec![], vec![]), "its own change was the end of what it had taken down");
    tracking.everything();
    assert_eq!(told(&own), ["all"], "whoever it was");
}

#[test]
fn another_is_told_instead_for_as_long_as_it_is_there() {
    let tracking = Tracking::new();
    let ear = tracking.tracker(2);
    let reader = tracker(&tracking, 1, TrackingTerms { redirect: Some(2), ..TrackingTerms::default() });
    tracking.read(1, &command("GET a"));
    tracking.changed(b"a", None);
    let heard = ear.next_at_once().expect("it is told");
    assert_eq!((heard.own, words(heard.of_others)), (Stale::NOTHING, vec!["a".to_owned()]));
    assert_eq!(reader.next_at_once(), None);
    drop(ear);
    tracking.read(1, &command("GET a"));
    tracking.changed(b"a", None);
    assert_eq!(reader.next_at_once().expect("it is told that").lost, [2].into());
}

#[test]
fn a_key_there_is_no_room_for_is_told_as_if_it_had_changed() {
    let tracking = Tracking::with(Bounds { readers: 3, key_bytes: 10 });
    let (one, other) = (plain(&tracking, 1), plain(&tracking, 2));
    for (id, key) in [(1, "a"), (2, "b"), (1, "b")] {
        tracking.read(id, &command(&format!("GET {key}")));
    }
    assert_eq!((told(&one), told(&other)), (vec![], vec![]));
    tracking.read(2, &command("GET c"));
    assert_eq!((told(&one), told(&other)), (vec!["a".to_owned()], vec![]), "the oldest goes");
    tracking.read(2, &command("GET 0123456789"));
    assert_eq!((told(&one), told(&other)), (vec!["b".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    tracking.read(2, &command("GET 0123456789ab"));
    assert_eq!(told(&other), ["0123456789", "0123456789ab"], "what never has room is told at once");
    assert!(is_empty(&tracking));
}

#[test]
fn keys_that_are_read_and_changed_time_and_again_leave_nothing_behind() {
    let tracking = Tracking::new();
    let reader = plain(&tracking, 1);
    for _ in 0..1000 {
        tracking.read(1, &command("GET a"));
        tracking.changed(b"a", None);
    }
    assert!(tracking.0.borrow().oldest.len() <= 70);
    assert_eq!(told(&reader), ["a"]);
}

#[test]
fn one_that_does_not_take_what_it_is_told_is_told_to_forget_everything() {
    let tracking = Tracking::new();
    let slow = tracker(&tracking, 1, terms(&[""]));
    for number in 0..20_000 {
        tracking.changed(format!("key {number}").as_bytes(), None);
    }
    assert_eq!(told(&slow), ["all"]);
    tracking.changed(b"a", None);
    assert_eq!(told(&slow), ["a"], "and goes on from there");
}

#[test]
fn whoever_is_told_is_woken() {
    let tracking = Tracking::new();
    let (reader, ear) = (plain(&tracking, 1), tracking.tracker(2));
    let redirected = tracker(&tracking, 3, TrackingTerms { redirect: Some(2), ..TrackingTerms::default() });
    for id in [1, 3] {
        tracking.read(id, &command("GET a"));
    }
    tracking.changed(b"b", None);
    let woken = |tracker: &Tracker| *tracker.bell.0.borrow();
    assert_eq!([&reader, &ear, &redirected].map(woken), [0, 0, 0]);
    tracking.changed(b"a", None);
    assert_eq!([&reader, &ear, &redirected].map(woken), [1, 1, 0]);
}

#[test]
fn what_was_read_untracked_is_told_to_its_readers_at_once() {
    let tracking = Tracking::new();
    let (reader, broad) = (plain(&tracking, 1), tracker(&tracking, 2, terms(&[""])));
    tracking.read(1, &command("MGET a b"));
    tracking.0.borrow_mut().give_up(&command("MGET b c"));
    assert_eq!((told(&reader), told(&broad)), (vec!["b".to_owned()], vec![]), "nothing has changed");
}
