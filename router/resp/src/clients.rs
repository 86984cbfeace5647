//! The connections of one process: what CLIENT LIST shows, and whom CLIENT KILL and CLIENT UNBLOCK reach.
//!
//! A connection tells the table what changes rarely, under a lock of its own, and what changes with each request by plain stores. There
//! are as many as the process lets in, so nothing here has a limit of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::control::{ClientFilter, ClientKind, Pause, UnblockReason};
use crate::encode::Protocol;
use crate::table::{Spec, TABLE};

/// What a connection is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End, whatever is under way.
    End,
    /// Wait no longer for something to be there.
    Unblock(UnblockReason),
    /// CLIENT PAUSE may be over.
    Resume,
}

/// How a connection is told. Called by others' tasks: it must not wait.
pub type Tell = Box<dyn Fn(Order) + Send + Sync>;

/// One connection, as others see it.
pub struct KnownClient {
    id: u64,
    /// The client's address and ours, as `host:port`.
    address: String,
    local_address: String,
    connected_micros: u64,
    /// Unix time.
    heard_micros: AtomicU64,
    /// Where the row of what it last asked stands in memory: cheaper to store than anything that could be read back at once.
    last_command: AtomicUsize,
    /// How many requests wait for EXEC; negative outside of MULTI.
    queued: AtomicI64,
    is_blocked: AtomicBool,
    described: Mutex<Described>,
    tell: Tell,
}

/// What changes rarely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) library_name: String,
    pub(crate) library_version: String,
    pub(crate) user: Option<String>,
    pub(crate) protocol: Protocol,
    pub(crate) reads_followers: bool,
    /// Channels, patterns and sharded channels it listens to.
    pub(crate) subscribed: [usize; 3],
    pub(crate) watched: usize,
    pub(crate) is_not_evicted: bool,
    pub(crate) does_not_touch: bool,
    pub(crate) tracking: DescribedTracking,
}

/// What CLIENT TRACKING has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescribedTracking {
    /// As CLIENT GETREDIR answers it.
    pub(crate) redirect: i64,
    pub(crate) broadcasts: bool,
    /// The connection that was to be told is gone.
    pub(crate) is_broken: bool,
}

impl Default for DescribedTracking {
    fn default() -> Self {
        Self { redirect: -1, broadcasts: false, is_broken: false }
    }
}

impl fmt::Debug for KnownClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownClient").field("id", &self.id).field("address", &self.address).finish_non_exhaustive()
    }
}

impl KnownClient {
    /// A connection that was accepted now. Nobody finds it before it has taken its seat ([`Clients::seat`]).
    #[must_use]
    pub fn new(id: u64, address: String, local_address: String, now_micros: u64, tell: Tell) -> Self {
        Self {
            id,
            address,
            local_address,
            connected_micros: now_micros,
            heard_micros: AtomicU64::new(now_micros),
            last_command: AtomicUsize::new(0),
            queued: AtomicI64::new(-1),
            is_blocked: AtomicBool::new(false),
            described: Mutex::default(),
            tell,
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When it was accepted, in Unix microseconds.
    #[must_use]
    pub fn connected_micros(&self) -> u64 {
        self.connected_micros
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What its client named it.
    #[must_use]
    pub fn name(&self) -> String {
        self.described.lock().name.clone()
    }

    pub(crate) fn is_of(&self, user: &str) -> bool {
        self.described.lock().user.as_deref() == Some(user)
    }

    /// It has sent something.
    pub fn heard(&self, now_micros: u64) {
        self.heard_micros.store(now_micros, Ordering::Relaxed);
    }

    /// Whether it waits for something to be there: only then can it be unblocked.
    pub fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self, spec: &'static Spec) {
        self.last_command.store(std::ptr::from_ref(spec).addr(), Ordering::Relaxed);
    }

    pub(crate) fn set_queued(&self, queued: Option<usize>) {
        let queued = queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
        self.queued.store(queued, Ordering::Relaxed);
    }

    pub(crate) fn describe(&self, change: impl FnOnce(&mut Described)) {
        change(&mut self.described.lock());
    }

    fn last_command(&self) -> &'static str {
        let asked = self.last_command.load(Ordering::Relaxed);
        let mut rows = TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
        rows.find(|spec| std::ptr::from_ref(*spec).addr() == asked).map_or("NULL", |spec| spec.name)
    }

    /// Its line in CLIENT LIST, without the end. What is not known here is 0.
    #[must_use]
    pub(crate) fn line(&self, now_micros: u64) -> String {
        let secs_since = |micros: u64| now_micros.saturating_sub(micros) / 1_000_000;
        let (age, idle) = (secs_since(self.connected_micros), secs_since(self.heard_micros.load(Ordering::Relaxed)));
        let queued = self.queued.load(Ordering::Relaxed);
        let described = self.described.lock().clone();
        let Described { name, library_name, library_version, user, protocol, subscribed, watched, .. } = &described;
        let (flags, redirect) = (self.flags(&described, queued >= 0), described.tracking.redirect);
        let (Self { id, address, local_address, .. }, [sub, psub, ssub]) = (self, subscribed);
        let (user, cmd, protocol) = (user.as_deref().unwrap_or("(none)"), self.last_command(), protocol.number());
        format!(
            "id={id} addr={address} laddr={local_address} fd=-1 name={name} age={age} idle={idle} flags={flags} db=0 sub={sub} \
             psub={psub} ssub={ssub} multi={queued} watch={watched} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 \
             oll=0 omem=0 tot-mem=0 events=r cmd={cmd} user={user} redir={redirect} resp={protocol} lib-name={library_name} \
             lib-ver={library_version}"
        )
    }

    fn flags(&self, described: &Described, is_collecting: bool) -> String {
        let flags: String = [
            (described.listens(), 'P'),
            (is_collecting, 'x'),
            (self.is_blocked.load(Ordering::Relaxed), 'b'),
            (described.tracking.redirect >= 0, 't'),
            (described.tracking.is_broken, 'R'),
            (described.tracking.broadcasts, 'B'),
            (described.reads_followers, 'r'),
            (described.is_not_evicted, 'e'),
            (described.does_not_touch, 'T'),
        ]
        .into_iter()
        .filter_map(|(is_so, flag)| is_so.then_some(flag))
        .collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }

    fn fits(&self, filter: &ClientFilter, now_micros: u64) -> bool {
        let age_secs = now_micros.saturating_sub(self.connected_micros) / 1_000_000;
        let described = self.described.lock();
        let is_kind = |kind: &ClientKind| match kind {
            ClientKind::Normal => !described.listens(),
            ClientKind::PubSub => described.listens(),
            // Neither leaders nor followers connect to this port.
            ClientKind::Master | ClientKind::Replica => false,
        };
        (filter.ids.is_empty() || filter.ids.contains(&self.id))
            && filter.kind.as_ref().is_none_or(is_kind)
            && filter.user.as_ref().is_none_or(|user| described.user.as_ref() == Some(user))
            && filter.address.as_ref().is_none_or(|address| *address == self.address)
            && filter.local_address.as_ref().is_none_or(|address| *address == self.local_address)
            && filter.min_age_secs.is_none_or(|age| age_secs >= age)
    }
}

impl Described {
    fn listens(&self) -> bool {
        self.subscribed.iter().any(|count| *count > 0)
    }
}

/// All connections.
#[derive(Debug, Default)]
pub struct Clients {
    table: Mutex<BTreeMap<u64, Arc<KnownClient>>>,
    /// Until when commands are put off, in Unix microseconds; 0 if they are not.
    paused_until: AtomicU64,
    pauses_writes_only: AtomicBool,
}

/// A connection's place in the table, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    clients: Arc<Clients>,
    client: Arc<KnownClient>,
}

impl Seat {
    /// The connection.
    #[must_use]
    pub fn client(&self) -> &Arc<KnownClient> {
        &self.client
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.clients.table.lock().remove(&self.client.id);
    }
}

impl Clients {
    /// Takes a connection into the table.
    #[must_use]
    pub fn seat(self: &Arc<Self>, client: KnownClient) -> Seat {
        let client = Arc::new(client);
        self.table.lock().insert(client.id, Arc::clone(&client));
        Seat { clients: Arc::clone(self), client }
    }

    /// How many wait for something to be there.
    #[must_use]
    pub fn blocked(&self) -> usize {
        self.table.lock().values().filter(|client| client.is_blocked.load(Ordering::Relaxed)).count()
    }

    /// How many have chosen to be told when what they have read changes.
    #[must_use]
    pub fn tracking(&self) -> usize {
        self.all().iter().filter(|client| client.described.lock().tracking.redirect >= 0).count()
    }

    /// Until when commands are put off, in Unix microseconds; `None` if they are not. To be asked before each: one load, as a rule.
    #[must_use]
    pub fn paused_until(&self, is_write: bool) -> Option<u64> {
        let until = self.paused_until.load(Ordering::Relaxed);
        (until > 0 && (is_write || !self.pauses_writes_only.load(Ordering::Relaxed))).then_some(until)
    }

    /// Puts off commands, or those that write. Of two pauses the longer and the stricter one counts, as in Redis.
    pub(crate) fn pause(&self, pause: Pause, now_micros: u64) {
        let until = now_micros.saturating_add(pause.millis.saturating_mul(1000)).max(1);
        let before = self.paused_until.load(Ordering::Relaxed);
        let is_paused = before > now_micros;
        let was_strict = is_paused && !self.pauses_writes_only.load(Ordering::Relaxed);
        self.pauses_writes_only.store(pause.writes_only && !was_strict, Ordering::Relaxed);
        self.paused_until.store(if is_paused { until.max(before) } else { until }, Ordering::Relaxed);
    }

    /// Ends the pause.
    pub(crate) fn resume(&self) {
        self.paused_until.store(0, Ordering::Relaxed);
        for client in self.all() {
            (client.tell)(Order::Resume);
        }
    }

    /// Those the filter lets through, in the order of their numbers.
    pub(crate) fn found(&self, filter: &ClientFilter, now_micros: u64) -> Vec<Arc<KnownClient>> {
        let mut all = self.all();
        all.retain(|client| client.fits(filter, now_micros));
        all
    }

    /// Ends a connection.
    pub(crate) fn end(client: &KnownClient) {
        (client.tell)(Order::End);
    }

    /// Whether a connection waited, and does so no longer.
    pub(crate) fn unblock(&self, id: u64, reason: UnblockReason) -> bool {
        let Some(client) = self.table.lock().get(&id).map(Arc::clone) else { return false };
        // Of two who say so one is told that it was.
        let waited = client.is_blocked.swap(false, Ordering::SeqCst);
        if waited {
            (client.tell)(Order::Unblock(reason));
        }
        waited
    }

    /// Copied out: nobody's own lock is waited for under the table's.
    fn all(&self) -> Vec<Arc<KnownClient>> {
        self.table.lock().values().map(Arc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000_000;

    /// A connection, and what it is told.
    fn seat(clients: &Arc<Clients>, id: u64) -> (Seat, Arc<Mutex<Vec<Order>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = {
            let told = Arc::clone(&told);
            Box::new(move |order| told.lock().push(order))
        };
        let address = format!("10.0.0.{id}:5000");
        (clients.seat(KnownClient::new(id, address, "10.0.0.1:7379".into(), NOW, tell)), told)
    }

    fn found(clients: &Clients, filter: &ClientFilter) -> Vec<u64> {
        clients.found(filter, NOW + 5_000_000).iter().map(|client| client.id()).collect()
    }

    #[test]
    fn connections_are_found_by_what_is_known_of_them() {
        let clients = Arc::new(Clients::default());
        let (one, _) = seat(&clients, 1);
        let (two, _) = seat(&clients, 2);
        one.client().describe(|described| described.user = Some("default".into()));
        two.client().describe(|described| described.subscribed = [0, 1, 0]);
        let all = ClientFilter::default();
        for (filter, expected) in [
            (all.clone(), vec![1, 2]),
            (ClientFilter { ids: vec![2, 9], ..all.clone() }, vec![2]),
            (ClientFilter { kind: Some(ClientKind::Normal), ..all.clone() }, vec![1]),
            (ClientFilter { kind: Some(ClientKind::PubSub), ..all.clone() }, vec![2]),
            (ClientFilter { kind: Some(ClientKind::Replica), ..all.clone() }, vec![]),
            (ClientFilter { user: Some("default".into()), ..all.clone() }, vec![1]),
            (ClientFilter { address: Some("10.0.0.2:5000".into()), ..all.clone() }, vec![2]),
            (ClientFilter { local_address: Some("10.0.0.1:7379".into()), ..all.clone() }, vec![1, 2]),
            (ClientFilter { min_age_secs: Some(5), ..all.clone() }, vec![1, 2]),
            (ClientFilter { min_age_secs: Some(6), ..all.clone() }, vec![]),
        ] {
            assert_eq!(found(&clients, &filter), expected, "{filter:?}");
        }
        drop(one);
        assert_eq!(found(&clients, &all), [2], "nothing is kept of one that has gone");
    }

    #[test]
    fn only_who_waits_is_unblocked_and_only_once() {
        let clients = Arc::new(Clients::default());
        let (seat, told) = seat(&clients, 7);
        assert!(!clients.unblock(7, UnblockReason::Timeout) && !clients.unblock(8, UnblockReason::Timeout));
        seat.client().set_blocked(true);
        assert_eq!(clients.blocked(), 1);
        assert!(clients.unblock(7, UnblockReason::Error));
        assert!(!clients.unblock(7, UnblockReason::Timeout));
        assert_eq!(*told.lock(), [Order::Unblock(UnblockReason::Error)]);
    }

    #[test]
    fn the_longer_and_the_stricter_pause_counts() {
        let clients = Arc::new(Clients::default());
        let (_seat, told) = seat(&clients, 1);
        assert_eq!(clients.paused_until(true), None);
        clients.pause(Pause { millis: 10, writes_only: true }, NOW);
        assert_eq!((clients.paused_until(true), clients.paused_until(false)), (Some(NOW + 10_000), None));
        clients.pause(Pause { millis: 5, writes_only: false }, NOW);
        assert_eq!(clients.paused_until(false), Some(NOW + 10_000));
        clients.pause(Pause { millis: 20, writes_only: true }, NOW);
        assert_eq!(clients.paused_until(false), Some(NOW + 20_000));
        clients.resume();
        assert_eq!((clients.paused_until(true), &told.lock()[..]), (None, &[Order::Resume][..]));
    }

    #[test]
    fn the_last_command_is_told_by_its_name() {
        let clients = Arc::new(Clients::default());
        let (seat, _) = seat(&clients, 1);
        assert!(seat.client().line(NOW).contains(" cmd=NULL "));
        seat.client().asked(crate::table::find_full(b"client|list").unwrap());
        seat.client().heard(NOW + 1_000_000);
        let line = seat.client().line(NOW + 3_000_000);
        assert!(line.contains(" age=3 idle=2 flags=N ") && line.contains(" cmd=client|list user=(none) "), "{line}");
    }
}
