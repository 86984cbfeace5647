//! A watch that survives its connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};
use simplekv_types::Revision;
use tokio::time::{Instant, sleep};

use super::endpoints::{ANSWER_BYTES_MAX, Endpoints};
use super::{entry, revision_of, signed, unsigned};
use crate::backoff::{Delays, delays};
use crate::pace::PROBE_INTERVAL;
use crate::{Change, WatchEvent};

/// A member that is asked whether it is there is left when it has not answered for this long: earlier than the pings of the connection
/// would notice.
const SILENCE_MAX: Duration = Duration::from_secs(4);

pub(super) struct EtcdWatch {
    endpoints: Arc<Endpoints>,
    prefix: String,
    /// Everything up to here was delivered.
    after: Revision,
    stream: Option<Stream>,
    /// What is to be reported before anything else is read.
    reports: VecDeque<WatchEvent>,
    /// Whether the interruption was reported that lasts.
    is_interrupted: bool,
    /// How long to wait before connecting again.
    pause: Option<Duration>,
    delays: Delays,
    /// Set after the last event.
    is_over: bool,
}

struct Stream {
    messages: WatchStream,
    member: usize,
    /// When the member last gave a sign of life.
    heard_at: Instant,
}

impl EtcdWatch {
    pub(super) fn new(endpoints: Arc<Endpoints>, prefix: String, after: Revision) -> Self {
        Self {
            endpoints,
            prefix,
            after,
            stream: None,
            reports: VecDeque::new(),
            is_interrupted: false,
            pause: None,
            delays: delays(),
            is_over: false,
        }
    }

    pub(super) async fn step(mut self) -> Option<(WatchEvent, Self)> {
        loop {
            if let Some(event) = self.reports.pop_front() {
                return Some((event, self));
            }
            if self.is_over {
                return None;
            }
            let result = match self.stream.take() {
                Some(stream) => self.listen(stream).await,
                None => self.connect().await,
            };
            match result {
                Ok(stream) => self.stream = stream,
                Err(reason) => self.on_interruption(reason),
            }
        }
    }

    fn on_interruption(&mut self, reason: String) {
        self.pause = Some(self.delays.next_delay());
        if !self.is_interrupted {
            self.is_interrupted = true;
            self.reports.push_back(WatchEvent::Interrupted { reason });
        }
    }

    async fn connect(&mut self) -> Result<Option<Stream>, String> {
        if let Some(pause) = self.pause.take() {
            sleep(pause).await;
        }
        let member = self.endpoints.preferred();
        let (prefix, after) = (self.prefix.clone(), self.after);
        let limit = self.endpoints.options().read_timeout;
        let opened = self.endpoints.attempt(member, limit, move |client| open(client, prefix, after)).await;
        let (messages, first) = opened.map_err(|failure| failure.reason().to_owned())?;
        let stream = Stream { messages, member, heard_at: Instant::now() };
        if first.canceled() {
            return self.on_message(stream, &first);
        }
        self.is_interrupted = false;
        self.reports.push_back(WatchEvent::Progress { revision: self.after });
        Ok(Some(stream))
    }

    async fn listen(&mut self, mut stream: Stream) -> Result<Option<Stream>, String> {
        let heard = tokio::select! {
            message = stream.messages.message() => message,
            probed = probe(&self.endpoints, stream.member) => {
                match probed {
                    Ok(()) => stream.heard_at = Instant::now(),
                    Err(reason) if stream.heard_at.elapsed() >= SILENCE_MAX => return Err(reason),
                    Err(_) => (),
                }
                return Ok(Some(stream));
            }
        };
        let reason = match heard {
            Ok(Some(message)) => {
                stream.heard_at = Instant::now();
                self.delays = delays();
                return self.on_message(stream, &message);
            }
            Ok(None) => "etcd ended the watch".to_owned(),
            Err(error) => error.to_string(),
        };
        self.endpoints.leave(stream.member);
        Err(reason)
    }

    fn on_message(&mut self, stream: Stream, message: &WatchResponse) -> Result<Option<Stream>, String> {
        if message.canceled() {
            if message.compact_revision() > 0 {
                self.is_over = true;
                self.reports.push_back(WatchEvent::Compacted { revision: unsigned(message.compact_revision()) });
                return Ok(None);
            }
            return Err(format!("etcd cancelled the watch: {}", message.cancel_reason()));
        }
        if message.events().is_empty() {
            self.on_progress(message);
        } else {
            self.on_events(message);
        }
        Ok(Some(stream))
    }

    /// A message without events. For a watch that begins in the future etcd may name a revision that is earlier still.
    fn on_progress(&mut self, message: &WatchResponse) {
        let revision = revision_of(message.header());
        if !message.created() && revision > self.after {
            self.after = revision;
            self.reports.push_back(WatchEvent::Progress { revision });
        }
    }

    /// All events of one revision come in one message. What was delivered before is left out: etcd has repeated itself.
    fn on_events(&mut self, message: &WatchResponse) {
        let mut batch: Option<(Revision, Vec<Change>)> = None;
        for event in message.events() {
            let Some(kv) = event.kv() else { continue };
            let revision = unsigned(kv.mod_revision());
            let change = match event.event_type() {
                EventType::Put => entry(kv).map(Change::Put),
                EventType::Delete => kv.key_str().ok().map(|key| Change::Delete { key: key.to_owned() }),
            };
            let Some(change) = change else { continue };
            match &mut batch {
                Some((current, changes)) if *current == revision => changes.push(change),
                _ => {
                    self.deliver(batch.take());
                    batch = Some((revision, vec![change]));
                }
            }
        }
        self.deliver(batch);
    }

    fn deliver(&mut self, batch: Option<(Revision, Vec<Change>)>) {
        if let Some((revision, changes)) = batch
            && revision > self.after
        {
            self.after = revision;
            self.reports.push_back(WatchEvent::Changed { revision, changes });
        }
    }
}

/// Asks a member after a while whether it is there. Not through the watch: whether and when etcd answers a request for a watch's
/// progress depends on its version, and some never do while nothing changes.
async fn probe(endpoints: &Endpoints, member: usize) -> Result<(), String> {
    sleep(PROBE_INTERVAL).await;
    let status = |mut client: Client| async move { client.status().await };
    match endpoints.attempt(member, endpoints.options().read_timeout, status).await {
        Err(failure) if failure.is_of_endpoint() => Err(failure.reason().to_owned()),
        // A refusal is a sign of life too.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Opens a watch and waits for etcd's confirmation.
async fn open(
    client: Client,
    prefix: String,
    after: Revision,
) -> Result<(WatchStream, WatchResponse), etcd_client::Error> {
    let options =
        WatchOptions::new().with_prefix().with_start_revision(signed(after).saturating_add(1)).with_progress_notify();
    let mut watches = client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut messages = watches.watch(prefix, Some(options)).await?;
    let first = messages.message().await?;
    let first = first.ok_or_else(|| etcd_client::Error::WatchError("the watch ended at once".to_owned()))?;
    Ok((messages, first))
}
