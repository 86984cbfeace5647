//! Arguments of the commands about the connection.

use bytes::Bytes;
use simplekv_types::{Failure, ReadPolicy, SessionToken, limits};

use super::{ClientCommand, Control, Credentials, Hello, LibraryAttribute, ReplyMode};
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
    let (mut ids, mut normal) = (Vec::new(), true);
    let Some(option) = words.option() else { return client(ClientCommand::List { ids, normal }) };
    if option.eq_ignore_ascii_case(b"type") && words.len() == 1 {
        let kind = words.word()?;
        normal = match kind.to_ascii_lowercase().as_slice() {
            b"normal" => true,
            b"master" | b"replica" | b"slave" | b"pubsub" => false,
            _ => {
                let kind = String::from_utf8_lossy(&kind);
                return Err(Failure::Command(format!("ERR Unknown client type '{kind}'").into()));
            }
        };
    } else if option.eq_ignore_ascii_case(b"id") && words.len() >= 1 {
        while let Some(id) = words.option() {
            ids.push(parse_u64(&id).filter(|id| *id > 0).ok_or(Failure::command("ERR Invalid client ID"))?);
        }
    } else {
        return Err(SYNTAX);
    }
    client(ClientCommand::List { ids, normal })
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
    let replicas = u64::try_from(words.integer()?).map_err(|_| NOT_AN_INTEGER)?;
    let timeout = parse_i64(&words.word()?).ok_or(Failure::command("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| Failure::command("ERR timeout is negative"))?;
    control(Control::Wait { replicas, timeout_ms })
}
