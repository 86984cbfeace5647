//! What nodes tell without being asked again: keys that got elements or have changed, and what is said in channels.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_client::Naming;
use simplekv_proto::v1;
use simplekv_proto::v1::event::What;
use simplekv_proto::v1::listen_request::Ask;
use simplekv_proto::v1::subscribe::Naming as Wire;
use simplekv_resp::glob;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::questions;
use super::readers::Reader;
use super::world::World;

/// Messages that a listener may be behind; beyond, it is told nothing more.
const UNHEARD_MAX: usize = 1024;

/// What is said, and who listens: the same at all nodes.
pub(super) struct Channels {
    said: broadcast::Sender<Said>,
    listeners: Mutex<HashMap<u64, Ear>>,
    next: AtomicU64,
}

#[derive(Clone)]
struct Said {
    is_shard: bool,
    channel: Bytes,
    message: Bytes,
}

/// What somebody listens to.
#[derive(Clone)]
struct Ear {
    naming: Naming,
    name: Bytes,
}

impl Ear {
    fn hears(&self, said: &Said) -> bool {
        match self.naming {
            Naming::Channel => !said.is_shard && self.name == said.channel,
            Naming::Pattern => !said.is_shard && glob::matches(&self.name, &said.channel),
            Naming::Shard => said.is_shard && self.name == said.channel,
        }
    }
}

/// Somebody who listens, until it is dropped.
struct Listener<'a> {
    channels: &'a Channels,
    number: u64,
    ear: Ear,
    heard: broadcast::Receiver<Said>,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.channels.listeners.lock().remove(&self.number);
    }
}

impl Channels {
    pub(super) fn new() -> Self {
        let (said, _) = broadcast::channel(UNHEARD_MAX);
        Self { said, listeners: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Says it to everybody who listens by now; how many these are.
    fn say(&self, said: Said) -> usize {
        let listeners = self.listeners.lock();
        // An error means that nobody listens.
        let _ = self.said.send(said.clone());
        listeners.values().filter(|ear| ear.hears(&said)).count()
    }

    fn listen(&self, ear: Ear) -> Listener<'_> {
        let mut listeners = self.listeners.lock();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        listeners.insert(number, ear.clone());
        Listener { channels: self, number, ear, heard: self.said.subscribe() }
    }
}

impl Listener<'_> {
    /// What is said next; `None` if too much was missed.
    async fn next(&mut self) -> Option<Said> {
        loop {
            let said = self.heard.recv().await.ok()?;
            if self.ear.hears(&said) {
                return Some(said);
            }
        }
    }
}

/// What one client has asked for; ends with it.
#[derive(Default)]
struct Asked(HashMap<u64, JoinHandle<()>>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.values().for_each(JoinHandle::abort);
    }
}

type Events = mpsc::Sender<Result<v1::Event, Status>>;

/// Serves one client until the stream ends.
pub(super) async fn serve(node: u32, world: Arc<World>, mut asks: Streaming<v1::ListenRequest>, events: Events) {
    let mut asked = Asked::default();
    let mut tracking: Option<(u64, Arc<Reader>)> = None;
    while let Ok(Some(v1::ListenRequest { id, ask })) = asks.message().await {
        world.is_awake(node).await;
        let (world, events) = (Arc::clone(&world), events.clone());
        asked.0.retain(|_, task| !task.is_finished());
        let task = match ask {
            Some(Ask::Wait(v1::WaitForElements { keys })) => tokio::spawn(async move {
                elements(node, &world, &keys).await;
                tell(node, &world, &events, id, What::Woken(v1::Woken {})).await;
            }),
            Some(Ask::Subscribe(wanted)) => tokio::spawn(async move {
                channel(node, &world, id, &wanted, &events).await;
                tell(node, &world, &events, id, What::Ended(v1::Ended {})).await;
            }),
            Some(Ask::Publish(said)) => {
                let what = publish(node, &world, said);
                tokio::spawn(async move { tell(node, &world, &events, id, what).await })
            }
            Some(Ask::Question(question)) => {
                let what = questions::answer(node, &question);
                tokio::spawn(async move { tell(node, &world, &events, id, what).await })
            }
            Some(Ask::Track(wanted)) => {
                let known = tracking.as_ref().filter(|(known, _)| *known == id).map(|(_, reader)| Arc::clone(reader));
                let is_told = known.is_some();
                let reader = known.unwrap_or_else(|| Arc::new(world.readers.reader(node)));
                reader.track(wanted.prefixes);
                tracking = Some((id, Arc::clone(&reader)));
                if is_told {
                    tell(node, &world, &events, id, What::Tracking(v1::Tracking { tracker: reader.id() })).await;
                    continue;
                }
                tokio::spawn(async move {
                    changes(node, &world, id, &reader, &events).await;
                    tell(node, &world, &events, id, What::Ended(v1::Ended {})).await;
                })
            }
            Some(Ask::Stop(_)) => {
                tracking = tracking.filter(|(known, _)| *known != id);
                if let Some(task) = asked.0.remove(&id) {
                    task.abort();
                }
                continue;
            }
            None => continue,
        };
        asked.0.insert(id, task);
    }
}

async fn tell(node: u32, world: &World, events: &Events, id: u64, what: What) {
    world.is_awake(node).await;
    // An error means that the client is gone.
    let _ = events.send(Ok(v1::Event { id, what: Some(what) })).await;
}

/// Waits until one of the keys is there, or the node does not lead it.
async fn elements(node: u32, world: &World, keys: &[Bytes]) {
    let (mut changes, mut topologies) = (world.changes.subscribe(), world.topology.subscribe());
    loop {
        changes.borrow_and_update();
        topologies.borrow_and_update();
        let leads = keys.iter().all(|key| world.leads(node, key));
        let is_there = || keys.iter().any(|key| world.keys.lock().contains(key));
        if !leads || is_there() {
            return;
        }
        tokio::select! {
            _ = changes.changed() => (),
            _ = topologies.changed() => (),
        }
    }
}

/// Tells what changes of what was read, as long as the node tells anything.
async fn changes(node: u32, world: &World, id: u64, reader: &Reader, events: &Events) {
    let silence = world.readers.falls_silent(node);
    let telling = async {
        tell(node, world, events, id, What::Tracking(v1::Tracking { tracker: reader.id() })).await;
        loop {
            let stale = reader.next().await;
            tell(node, world, events, id, What::Stale(stale)).await;
        }
    };
    tokio::select! {
        biased;
        () = silence => (),
        () = telling => (),
    }
    reader.stop();
}

/// Tells what is said in a channel, as long as it is this node's to tell.
async fn channel(node: u32, world: &World, id: u64, wanted: &v1::Subscribe, events: &Events) {
    let naming = match wanted.naming() {
        Wire::Channel => Naming::Channel,
        Wire::Pattern => Naming::Pattern,
        Wire::Shard => Naming::Shard,
    };
    let is_here = || naming != Naming::Shard || world.leads(node, &wanted.name);
    let mut listener = world.channels.listen(Ear { naming, name: wanted.name.clone() });
    let mut topologies = world.topology.subscribe();
    if !is_here() {
        return;
    }
    tell(node, world, events, id, What::Listening(v1::Listening {})).await;
    loop {
        tokio::select! {
            said = listener.next() => {
                let Some(Said { channel, message, .. }) = said else { return };
                tell(node, world, events, id, What::Message(v1::Message { channel, message })).await;
            }
            _ = topologies.changed() => if !is_here() { return },
        }
    }
}

fn publish(node: u32, world: &World, said: v1::Publish) -> What {
    let is_shard = said.naming() == Wire::Shard;
    if is_shard && !world.leads(node, &said.channel) {
        return What::Ended(v1::Ended {});
    }
    let v1::Publish { channel, message, .. } = said;
    let by = world.channels.say(Said { is_shard, channel, message });
    What::Heard(v1::Heard { by: by as u64 })
}
