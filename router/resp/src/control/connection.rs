//! Arguments of the commands about the connection.

use bytes::Bytes;
use simplekv_types::{Failure, ReadPolicy, SessionToken, limits};

use super::{
    ClientCommand, ClientFilter, ClientKind, Control, Credentials, Hello, Kill, LibraryAttribute, Pause, ReplyMode,
    UnblockReason, Wait,
};
use crate::command::{Body, NOT_AN_INTEGER, SYNTAX, Words};
use crate::encode::Protocol;
use crate::number::{parse_i64, parse_u64};
use crate::table;

type Parsed = Result<Body, Failure>;

fn control(control: Control) -> Parsed {
    Ok(Body::Control(control))
}

pub(crate) fn hello(words: &mut Words<'_>) -> Parsed {
    let mut hello = Hello::default();
    let Some(version) = words.option() else { return control(Control::Hello(hello)) };
    hello.protocol = Some(match parse_i64(&version) {
        Some(2) => Protocol::Resp2,
        Some(3) => Protocol::Resp3,
        Some(_) => return Err(Failure::command("NOPROTO unsupported protocol version")),
        None => return Err(Failure::command("ERR Protocol version is not an integer or out of range")),
    });
    while let Some(option) = words.option() {
        if option.eq_ignore_ascii_case(b"auth") && words.len() >= 2 {
            hello.auth = Some(Credentials { user: Some(words.word()?), password: words.word()? });
        } else if option.eq_ignore_ascii_case(b"setname") && words.len() >= 1 {
            let name = words.word()?;
            printable(&name).ok_or(BAD_NAME)?;
            hello.name = Some(name);
        } else {
            let option = String::from_utf8_lossy(&option);
            return Err(Failure::Command(format!("ERR Syntax error in HELLO option '{option}'").into()));
        }
    }
    control(Control::Hello(hello))
}

const BAD_NAME: Failure = Failure::command("ERR Client names cannot contain spaces, newlines or special characters.");

/// The text if it has only visible ASCII characters: it will stand among others in a line of CLIENT LIST.
fn printable(text: &[u8]) -> Option<String> {
    text.iter().all(u8::is_ascii_graphic).then(|| String::from_utf8_lossy(text).into_owned())
}

pub(crate) fn auth(words: &mut Words<'_>) -> Parsed {
    let (first, second) = (words.word()?, words.option());
    words.end()?;
    control(Control::Auth(match second {
        Some(password) => Credentials { user: Some(first), password },
        None => Credentials { user: None, password: first },
    }))
}

pub(crate) fn ping(words: &mut Words<'_>) -> Parsed {
    let message = words.option();
    words.end().map_err(|_| table::wrong_arity(words.spec))?;
    control(Control::Ping { message })
}

pub(crate) fn echo(words: &mut Words<'_>) -> Parsed {
    control(Control::Echo { message: words.word()? })
}

pub(crate) fn quit(_words: &mut Words<'_>) -> Parsed {
    control(Control::Quit)
}

pub(crate) fn reset(_words: &mut Words<'_>) -> Parsed {
    control(Control::Reset)
}

pub(crate) fn select(words: &mut Words<'_>) -> Parsed {
    control(Control::Select { database: words.integer()? })
}

fn client(command: ClientCommand) -> Parsed {
    control(Control::Client(command))
}

pub(crate) fn setinfo(words: &mut Words<'_>) -> Parsed {
    let (name, value) = (words.word()?, words.word()?);
    let (attribute, spelled) = if name.eq_ignore_ascii_case(b"lib-name") {
        (LibraryAttribute::Name, "lib-name")
    } else if name.eq_ignore_ascii_case(b"lib-ver") {
        (LibraryAttribute::Version, "lib-ver")
    } else {
        let name = String::from_utf8_lossy(&name);
        return Err(Failure::Command(format!("ERR Unrecognized option '{name}'").into()));
    };
    let value = printable(&value).ok_or_else(|| {
        Failure::Command(format!("ERR {spelled} cannot contain spaces, newlines or special characters.").into())
    })?;
    client(ClientCommand::SetInfo { attribute, value })
}

pub(crate) fn setname(words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::SetName { name: printable(&words.word()?).ok_or(BAD_NAME)? })
}

pub(crate) fn getname(_words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::GetName)
}

pub(crate) fn id(_words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::Id)
}

pub(crate) fn info(_words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::Info)
}

pub(crate) fn list(words: &mut Words<'_>) -> Parsed {
    let mut filter = ClientFilter::default();
    let Some(option) = words.option() else { return client(ClientCommand::List(filter)) };
    if option.eq_ignore_ascii_case(b"type") && words.len() == 1 {
        filter.kind = Some(kind(&words.word()?)?);
    } else if option.eq_ignore_ascii_case(b"id") && words.len() >= 1 {
        while let Some(id) = words.option() {
            filter.ids.push(id_of(&id).ok_or(Failure::command("ERR Invalid client ID"))?);
        }
    } else {
        return Err(SYNTAX);
    }
    client(ClientCommand::List(filter))
}

fn id_of(word: &[u8]) -> Option<u64> {
    parse_u64(word).filter(|id| *id > 0)
}

fn kind(word: &[u8]) -> Result<ClientKind, Failure> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(ClientKind::Normal),
        b"master" => Ok(ClientKind::Master),
        b"replica" | b"slave" => Ok(ClientKind::Replica),
        b"pubsub" => Ok(ClientKind::PubSub),
        _ => Err(Failure::Command(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word)).into())),
    }
}

pub(crate) fn kill(words: &mut Words<'_>) -> Parsed {
    let owned = |word: &Bytes| String::from_utf8_lossy(word).into_owned();
    let first = words.word()?;
    if words.len() == 0 {
        let filter = ClientFilter { address: Some(owned(&first)), ..ClientFilter::default() };
        return client(ClientCommand::Kill(Kill { filter, skips_me: false, is_by_address: true }));
    }
    let mut kill = Kill { filter: ClientFilter::default(), skips_me: true, is_by_address: false };
    let mut next = Some(first);
    while let Some(option) = next {
        let value = words.option().ok_or(SYNTAX)?;
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                let bad = Failure::command("ERR client-id should be greater than 0");
                kill.filter.ids.push(id_of(&value).ok_or(bad)?);
            }
            b"type" => kill.filter.kind = Some(kind(&value)?),
            b"user" => kill.filter.user = Some(owned(&value)),
            b"addr" => kill.filter.address = Some(owned(&value)),
            b"laddr" => kill.filter.local_address = Some(owned(&value)),
            b"maxage" => {
                let bad = Failure::command("ERR maxage is not an integer or out of range");
                kill.filter.min_age_secs = Some(id_of(&value).ok_or(bad)?);
            }
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => kill.skips_me = true,
            b"skipme" if value.eq_ignore_ascii_case(b"no") => kill.skips_me = false,
            _ => return Err(SYNTAX),
        }
        next = words.option();
    }
    client(ClientCommand::Kill(kill))
}

pub(crate) fn unblock(words: &mut Words<'_>) -> Parsed {
    let (id, reason) = (words.word()?, words.option());
    words.end()?;
    let reason = match reason.map(|reason| reason.to_ascii_lowercase()).as_deref() {
        None | Some(b"timeout") => UnblockReason::Timeout,
        Some(b"error") => UnblockReason::Error,
        Some(_) => return Err(Failure::command("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    // Nobody has a negative one.
    let id = u64::try_from(parse_i64(&id).ok_or(NOT_AN_INTEGER)?).unwrap_or(0);
    client(ClientCommand::Unblock { id, reason })
}

pub(crate) fn pause(words: &mut Words<'_>) -> Parsed {
    let (millis, mode) = (words.word()?, words.option());
    words.end()?;
    let writes_only = match mode.map(|mode| mode.to_ascii_lowercase()).as_deref() {
        None | Some(b"all") => false,
        Some(b"write") => true,
        Some(_) => return Err(Failure::command("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    client(ClientCommand::Pause(Pause { millis: timeout_ms(&millis)?, writes_only }))
}

pub(crate) fn unpause(_words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::Unpause)
}

fn on_or_off(words: &mut Words<'_>) -> Result<bool, Failure> {
    match words.word()?.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(SYNTAX),
    }
}

pub(crate) fn no_evict(words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::NoEvict(on_or_off(words)?))
}

pub(crate) fn no_touch(words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::NoTouch(on_or_off(words)?))
}

pub(crate) fn reply(words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::Reply(match words.word()?.to_ascii_lowercase().as_slice() {
        b"on" => ReplyMode::On,
        b"off" => ReplyMode::Off,
        b"skip" => ReplyMode::Skip,
        _ => return Err(SYNTAX),
    }))
}

pub(crate) fn read(words: &mut Words<'_>) -> Parsed {
    let invalid = |error: &dyn std::fmt::Display| Failure::Command(format!("ERR {error}").into());
    let name = text(&words.word()?, NAME_BYTES_MAX)?;
    let (mut policy, mut token) = (name.clone(), None);
    if name.eq_ignore_ascii_case("bounded") && words.len() > 0 {
        policy = format!("{name}={}", text(&words.word()?, NAME_BYTES_MAX)?);
    }
    let policy: ReadPolicy = policy.parse().map_err(|error| invalid(&error))?;
    if let ReadPolicy::Session { .. } = policy
        && let Some(given) = words.option()
    {
        let given = text(&given, limits::TOKEN_BYTES_MAX + 1)?;
        token = Some(given.parse::<SessionToken>().map_err(|error| invalid(&error))?);
    }
    words.end()?;
    client(ClientCommand::Read { policy, token })
}

/// A policy's name, or its time, is not longer.
const NAME_BYTES_MAX: usize = 32;

/// A word of at most so many bytes, as text. Whatever is not text becomes something that is nothing either.
fn text(word: &Bytes, max: usize) -> Result<String, Failure> {
    if word.len() > max {
        return Err(SYNTAX);
    }
    Ok(String::from_utf8_lossy(word).into_owned())
}

pub(crate) fn token(_words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::Token)
}

pub(crate) fn route(words: &mut Words<'_>) -> Parsed {
    client(ClientCommand::Route { key: words.word()? })
}

/// `… HELP` of any command with subcommands.
pub(crate) fn help(words: &mut Words<'_>) -> Parsed {
    control(Control::Help { of: words.spec.name.split('|').next().unwrap_or_default() })
}

/// A command with subcommands, asked without one. Its row's arity has already refused that.
pub(crate) fn container(words: &mut Words<'_>) -> Parsed {
    Err(table::wrong_arity(words.spec))
}

pub(crate) fn wait(words: &mut Words<'_>) -> Parsed {
    // Fewer than none are always there.
    let replicas = u64::try_from(words.integer()?).unwrap_or(0);
    let timeout_ms = timeout_ms(&words.word()?)?;
    control(Control::Wait(Wait { on_disk: false, local: false, replicas, timeout_ms }))
}

pub(crate) fn waitaof(words: &mut Words<'_>) -> Parsed {
    const NEGATIVE: Failure = Failure::command("ERR value is out of range, must be positive");
    let local = match words.integer()? {
        0 => false,
        1 => true,
        _ => return Err(Failure::command("ERR value is out of range, value must between 0 and 1")),
    };
    let replicas = u64::try_from(words.integer()?).map_err(|_| NEGATIVE)?;
    let timeout_ms = timeout_ms(&words.word()?)?;
    control(Control::Wait(Wait { on_disk: true, local, replicas, timeout_ms }))
}

fn timeout_ms(word: &[u8]) -> Result<u64, Failure> {
    let timeout = parse_i64(word).ok_or(Failure::command("ERR timeout is not an integer or out of range"))?;
    u64::try_from(timeout).map_err(|_| Failure::command("ERR timeout is negative"))
}
