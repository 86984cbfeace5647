//! What a caller may set for one request.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use simplekv_types::{ClientId, GroupId, GroupTime, ReadPolicy, Seq, Slot};

/// Whether a request changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Changes nothing and may be sent as often as needed.
    Read,
    /// Is applied once however often it is sent.
    Write,
}

/// Who a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The group that owns this slot: that of the request's keys.
    Slot(Slot),
    /// This group, for a command without keys.
    Group(GroupId),
}

impl From<Slot> for Target {
    fn from(slot: Slot) -> Self {
        Self::Slot(slot)
    }
}

impl From<GroupId> for Target {
    fn from(group: GroupId) -> Self {
        Self::Group(group)
    }
}

/// The identity of one write, for a caller who wants to ask for the same write again after a crash of its own. Printed and parsed
/// as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// The client the write belongs to.
    pub client: ClientId,
    /// The write's number within that client.
    pub seq: Seq,
    /// Group time after which the write is not executed any more. Repeating it later answers an error, never a second execution.
    pub deadline: GroupTime,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.client, self.seq.0, self.deadline)
    }
}

impl FromStr for RequestId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a request id");
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or_else(wrong);
        let client = part()?.parse().map_err(|_| wrong())?;
        let seq = part()?.parse().ok().filter(|&seq| seq > 0).ok_or_else(wrong)?;
        let deadline = part()?.parse().map_err(|_| wrong())?;
        Ok(Self { client, seq: Seq(seq), deadline: GroupTime(deadline) })
    }
}

/// Settings of one request. What is not set comes from the client.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Which replicas may answer; `None` means the client's default. Ignored by writes.
    pub read: Option<ReadPolicy>,
    /// Deadline over all attempts; `None` means the client's default.
    pub timeout: Option<Duration>,
    /// Whether to try again after an attempt that failed or was refused. Redirects are followed in any case: they are part of
    /// finding the node, not of repeating the request. Default `true`.
    pub retry: bool,
    /// The write's identity, instead of one the client makes up.
    pub request_id: Option<RequestId>,
    /// Whether a read may share the answer of an identical one, where the read policy's promise allows it. Default `true`; to be
    /// switched off for commands that answer something else each time.
    pub share: bool,
    /// Requests to one node with the same number travel on the same lane, so that what is submitted together is packed together.
    /// `None` spreads over the lanes.
    pub lane: Option<usize>,
    /// Whether changes of what is read are told to those who asked for it with [`Client::track`](crate::Client::track). Before the
    /// answer comes they are told if they will not be. Of a write this is not: it may be answered by an earlier attempt.
    pub track: bool,
    /// Whether a GET may be answered from the near-cache, see [`Get::cached`](crate::Get::cached).
    pub cached: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read: None,
            timeout: None,
            retry: true,
            request_id: None,
            share: true,
            lane: None,
            track: false,
            cached: false,
        }
    }
}

impl Options {
    /// Sets [`Options::read`].
    #[must_use]
    pub fn read(mut self, policy: ReadPolicy) -> Self {
        self.read = Some(policy);
        self
    }

    /// Sets [`Options::timeout`].
    #[must_use]
    pub fn timeout(mut self, total: Duration) -> Self {
        self.timeout = Some(total);
        self
    }

    /// Clears [`Options::retry`].
    #[must_use]
    pub fn no_retry(mut self) -> Self {
        self.retry = false;
        self
    }

    /// Sets [`Options::request_id`].
    #[must_use]
    pub fn request_id(mut self, id: RequestId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// Sets [`Options::share`].
    #[must_use]
    pub fn share(mut self, share: bool) -> Self {
        self.share = share;
        self
    }

    /// Sets [`Options::lane`].
    #[must_use]
    pub fn lane(mut self, lane: usize) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Sets [`Options::track`].
    #[must_use]
    pub fn track(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// Sets [`Options::cached`].
    #[must_use]
    pub fn cached(mut self, cached: bool) -> Self {
        self.cached = cached;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_read_as_it_is_printed() {
        let id = RequestId { client: ClientId(0xfeed), seq: Seq(7), deadline: GroupTime(1_700_000_000_000) };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "feed-1-1", "0000000000000000000000000000feed-0-1", "0000000000000000000000000000feed-1"] {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
    }
}
