//! Arguments of CLIENT TRACKING and CLIENT CACHING.

use bytes::Bytes;
use simplekv_types::Failure;

use super::{ClientCommand, Control};
use crate::command::{Body, SYNTAX, Words};

/// Most prefixes that one connection may have named. Each change of a key is compared with those of all connections.
pub(crate) const PREFIXES_MAX: usize = 1024;

/// CLIENT TRACKING.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackingRequest {
    /// Whether it is turned on.
    pub on: bool,
    /// The connection that is to be told instead; 0, which no connection has, if a number was given that none can have.
    pub redirect: Option<u64>,
    /// PREFIX: which keys BCAST is about; none means all.
    pub prefixes: Vec<Bytes>,
    /// BCAST: of all changes, whether the connection has read the key or not.
    pub broadcast: bool,
    /// OPTIN: only what is read after CLIENT CACHING YES.
    pub opt_in: bool,
    /// OPTOUT: not what is read after CLIENT CACHING NO.
    pub opt_out: bool,
    /// NOLOOP: not what the connection itself changes.
    pub no_loop: bool,
}

fn client(command: ClientCommand) -> Result<Body, Failure> {
    Ok(Body::Control(Control::Client(command)))
}

pub(crate) fn tracking(words: &mut Words<'_>) -> Result<Body, Failure> {
    let on = match words.word()?.to_ascii_lowercase().as_slice() {
        b"on" => true,
        b"off" => false,
        // Redis looks at the options first, and finds what is wrong with them.
        _ => return Err(SYNTAX),
    };
    let mut request = TrackingRequest { on, ..TrackingRequest::default() };
    while let Some(option) = words.option() {
        match option.to_ascii_lowercase().as_slice() {
            b"redirect" if words.len() > 0 && request.redirect.is_some_and(|redirect| redirect != 0) => {
                return Err(Failure::command("ERR A client can only redirect to a single other client"));
            }
            b"redirect" if words.len() > 0 => request.redirect = Some(u64::try_from(words.integer()?).unwrap_or(0)),
            b"prefix" if words.len() > 0 => request.prefixes.push(words.word()?),
            b"bcast" => request.broadcast = true,
            b"optin" => request.opt_in = true,
            b"optout" => request.opt_out = true,
            b"noloop" => request.no_loop = true,
            _ => return Err(SYNTAX),
        }
    }
    client(ClientCommand::Tracking(request))
}

pub(crate) fn caching(words: &mut Words<'_>) -> Result<Body, Failure> {
    client(ClientCommand::Caching(match words.word()?.to_ascii_lowercase().as_slice() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }))
}

pub(crate) fn getredir(_words: &mut Words<'_>) -> Result<Body, Failure> {
    client(ClientCommand::GetRedir)
}

pub(crate) fn trackinginfo(_words: &mut Words<'_>) -> Result<Body, Failure> {
    client(ClientCommand::TrackingInfo)
}
