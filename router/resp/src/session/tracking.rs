//! CLIENT TRACKING: what a connection wants to be told about keys that change.

use std::collections::BTreeSet;

use bytes::Bytes;
use simplekv_types::{Failure, Reply};

use super::Session;
use crate::clients::DescribedTracking;
use crate::command::SYNTAX;
use crate::control::tracking::{PREFIXES_MAX, TrackingRequest};
use crate::encode::Protocol;

/// What CLIENT TRACKING and CLIENT CACHING chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracking {
    terms: Option<TrackingTerms>,
    opt_in: bool,
    opt_out: bool,
    /// The connection that was to be told is gone.
    is_broken: bool,
    /// What CLIENT CACHING said about the request that comes, and about the one now to be done.
    next: Option<bool>,
    present: Option<bool>,
}

/// On which terms a connection tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackingTerms {
    /// The connection that is told instead.
    pub redirect: Option<u64>,
    /// With BCAST: what the keys begin with; never empty. `None`: only keys that were read.
    pub prefixes: Option<BTreeSet<Bytes>>,
    /// Whether the connection is not told of its own changes.
    pub no_loop: bool,
}

/// Keys of which copies are no longer good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stale {
    /// These; perhaps none.
    Keys(BTreeSet<Bytes>),
    /// All, whatever they are.
    #[default]
    Everything,
}

impl Stale {
    /// No keys.
    pub const NOTHING: Self = Self::Keys(BTreeSet::new());

    /// Whether there is anything.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Keys(keys) if keys.is_empty())
    }
}

const NO_SUCH_CLIENT: Failure = Failure::command("ERR The client ID you want redirect to does not exist");
const PREFIX_WITHOUT_BCAST: Failure = Failure::command("ERR PREFIX option requires BCAST mode to be enabled");
const BCAST_SWITCHED: Failure = Failure::command(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
);
const OPT_WITH_BCAST: Failure = Failure::command("ERR OPTIN and OPTOUT are not compatible with BCAST");
const OPT_IN_AND_OUT: Failure = Failure::command("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OPT_SWITCHED: Failure = Failure::command(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
);
const CACHING_WITHOUT_OPT: Failure = Failure::command(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const CACHING_YES: Failure =
    Failure::command("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const CACHING_NO: Failure =
    Failure::command("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
const TOO_MANY_PREFIXES: Failure = Failure::command("ERR too many prefixes are tracked by one connection");

/// The channel on which a connection of the older protocol is told what another tracks.
const CHANNEL: &str = "__redis__:invalidate";

impl Tracking {
    /// A request begins that CLIENT CACHING may have been about.
    pub(super) fn begin_request(&mut self) {
        self.present = self.next.take();
    }

    pub(super) fn seen_by_others(&self) -> DescribedTracking {
        DescribedTracking {
            redirect: self.redirect(),
            broadcasts: self.terms.as_ref().is_some_and(|terms| terms.prefixes.is_some()),
            is_broken: self.is_broken,
        }
    }

    /// As CLIENT GETREDIR answers it: -1 if nothing is tracked, 0 if it is not redirected.
    pub(super) fn redirect(&self) -> i64 {
        let redirect = |terms: &TrackingTerms| i64::try_from(terms.redirect.unwrap_or(0)).unwrap_or(i64::MAX);
        self.terms.as_ref().map_or(-1, redirect)
    }

    pub(super) fn set_caching(&mut self, wanted: Option<bool>) -> Result<Reply, Failure> {
        match (wanted, self.opt_in, self.opt_out) {
            _ if self.terms.is_none() => Err(CACHING_WITHOUT_OPT),
            (None, ..) => Err(SYNTAX),
            (Some(true), false, _) => Err(CACHING_YES),
            (Some(false), _, false) => Err(CACHING_NO),
            _ => {
                self.next = wanted;
                Ok(Reply::Ok)
            }
        }
    }

    pub(super) fn info(&self) -> Reply {
        let terms = self.terms.as_ref();
        let prefixes = terms.and_then(|terms| terms.prefixes.as_ref());
        let flags = [
            (terms.is_none(), "off"),
            (terms.is_some(), "on"),
            (prefixes.is_some(), "bcast"),
            (self.opt_in, "optin"),
            (self.next == Some(true), "caching-yes"),
            (self.opt_out, "optout"),
            (self.next == Some(false), "caching-no"),
            (terms.is_some_and(|terms| terms.no_loop), "noloop"),
            (self.is_broken, "broken_redirect"),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| Reply::fixed(flag));
        let prefixes = prefixes.into_iter().flatten().map(|prefix| Reply::Bulk(prefix.clone()));
        Reply::Map(vec![
            (Reply::fixed("flags"), Reply::Set(flags.collect())),
            (Reply::fixed("redirect"), Reply::Int(self.redirect())),
            (Reply::fixed("prefixes"), Reply::Array(prefixes.collect())),
        ])
    }

    /// The prefixes if these are added.
    fn prefixes_with(&self, request: &TrackingRequest) -> Result<BTreeSet<Bytes>, Failure> {
        let mut prefixes = self.terms.as_ref().and_then(|terms| terms.prefixes.clone()).unwrap_or_default();
        if prefixes.len() + request.prefixes.len() > PREFIXES_MAX {
            return Err(TOO_MANY_PREFIXES);
        }
        for (place, prefix) in request.prefixes.iter().enumerate() {
            if let Some(known) = prefixes.iter().find(|known| overlap(known, prefix)) {
                return Err(overlapping(prefix, "an existing prefix", known));
            }
            let later = request.prefixes.iter().skip(place + 1);
            if let Some(other) = later.into_iter().find(|other| overlap(other, prefix)) {
                return Err(overlapping(prefix, "another provided prefix", other));
            }
        }
        prefixes.extend(request.prefixes.iter().cloned());
        if request.prefixes.is_empty() {
            prefixes.insert(Bytes::new());
        }
        Ok(prefixes)
    }

    fn turn_on(&mut self, request: &TrackingRequest) -> Result<(), Failure> {
        if !request.broadcast && !request.prefixes.is_empty() {
            return Err(PREFIX_WITHOUT_BCAST);
        }
        if self.terms.as_ref().is_some_and(|terms| terms.prefixes.is_some() != request.broadcast) {
            return Err(BCAST_SWITCHED);
        }
        if request.broadcast && (request.opt_in || request.opt_out) {
            return Err(OPT_WITH_BCAST);
        }
        if request.opt_in && request.opt_out {
            return Err(OPT_IN_AND_OUT);
        }
        if request.opt_in && self.opt_out || request.opt_out && self.opt_in {
            return Err(OPT_SWITCHED);
        }
        let prefixes = request.broadcast.then(|| self.prefixes_with(request)).transpose()?;
        let terms = TrackingTerms { redirect: request.redirect, prefixes, no_loop: request.no_loop };
        let (opt_in, opt_out, next, present) = (request.opt_in, request.opt_out, self.next, self.present);
        *self = Self { terms: Some(terms), opt_in, opt_out, is_broken: false, next, present };
        Ok(())
    }
}

fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn overlapping(prefix: &[u8], which: &str, other: &[u8]) -> Failure {
    let [prefix, other] = [prefix, other].map(String::from_utf8_lossy);
    let rule = "Prefixes for a single client must not overlap.";
    Failure::Command(format!("ERR Prefix '{prefix}' overlaps with {which} '{other}'. {rule}").into())
}

impl Session {
    /// Does what CLIENT TRACKING asks for. Returns the terms from now on, `None` if nothing is tracked any more. `exists` tells
    /// whether there is a connection of this number.
    ///
    /// # Errors
    /// In Redis' words why not; then nothing has changed.
    pub fn track(
        &mut self,
        request: &TrackingRequest,
        exists: impl FnOnce(u64) -> bool,
    ) -> Result<Option<TrackingTerms>, Failure> {
        if request.redirect.is_some_and(|redirect| redirect == 0 || redirect != self.id() && !exists(redirect)) {
            return Err(NO_SUCH_CLIENT);
        }
        match request.on {
            true => self.tracking.turn_on(request)?,
            false => self.tracking = Tracking::default(),
        }
        self.describe();
        Ok(self.tracking.terms.clone())
    }

    /// Whether the keys are to be tracked that the request now to be done reads.
    #[must_use]
    pub fn tracks_reads(&self) -> bool {
        let Tracking { terms, opt_in, opt_out, present, .. } = &self.tracking;
        match terms {
            None | Some(TrackingTerms { prefixes: Some(_), .. }) => false,
            Some(_) if *opt_in => *present == Some(true),
            Some(_) if *opt_out => *present != Some(false),
            Some(_) => true,
        }
    }

    /// On which terms the connection tracks, if it does.
    #[must_use]
    pub fn tracking(&self) -> Option<&TrackingTerms> {
        self.tracking.terms.as_ref()
    }

    /// Whether it is not told of its own changes.
    #[must_use]
    pub fn ignores_own_changes(&self) -> bool {
        self.tracking().is_some_and(|terms| terms.no_loop)
    }

    /// What to say of changes to what the connection itself tracks; nothing in the older protocol.
    #[must_use]
    pub fn stale(&self, stale: &Stale) -> Option<Reply> {
        let together = self.tracking().is_some_and(|terms| terms.prefixes.is_some());
        (self.protocol == Protocol::Resp3).then(|| pushes(stale, together, &[Reply::fixed("invalidate")]))
    }

    /// What to say of changes to what others track that have them told here.
    #[must_use]
    pub fn stale_of_others(&self, stale: &Stale) -> Option<Reply> {
        match self.protocol {
            Protocol::Resp3 => Some(pushes(stale, false, &[Reply::fixed("invalidate")])),
            Protocol::Resp2 if self.is_subscribed() => {
                Some(pushes(stale, false, &[Reply::fixed("message"), Reply::fixed(CHANNEL)]))
            }
            Protocol::Resp2 => None,
        }
    }

    /// Somebody was to be told that is gone. What to say of it.
    #[must_use]
    pub fn lost_redirect(&mut self, to: u64) -> Option<Reply> {
        if self.tracking().is_none_or(|terms| terms.redirect != Some(to)) {
            return None;
        }
        self.tracking.is_broken = true;
        self.describe();
        let to = Reply::Int(i64::try_from(to).unwrap_or(i64::MAX));
        (self.protocol == Protocol::Resp3).then(|| Reply::Pushes(vec![vec![Reply::fixed("tracking-redir-broken"), to]]))
    }
}

/// `together`: one message for all keys, as BCAST has it.
fn pushes(stale: &Stale, together: bool, head: &[Reply]) -> Reply {
    let push = |what: Reply| head.iter().cloned().chain([what]).collect();
    let key = |key: &Bytes| Reply::Bulk(key.clone());
    Reply::Pushes(match stale {
        Stale::Everything => vec![push(Reply::Null)],
        Stale::Keys(keys) if keys.is_empty() => Vec::new(),
        Stale::Keys(keys) if together => vec![push(Reply::Array(keys.iter().map(key).collect()))],
        Stale::Keys(keys) => keys.iter().map(|one| push(Reply::Array(vec![key(one)]))).collect(),
    })
}

#[cfg(test)]
mod tests;
