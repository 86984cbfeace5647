//! Arguments of the commands about scripts, and the answers: which are known does not change.

use simplekv_types::{Failure, Reply};

use super::{Control, ScriptCommand};
use crate::command::script::{UNKNOWN_SCRIPT, by_sha, by_text};
use crate::command::{Body, Words};

type Parsed = Result<Body, Failure>;

fn script(command: ScriptCommand) -> Parsed {
    Ok(Body::Control(Control::Script(command)))
}

pub(crate) fn load(words: &mut Words<'_>) -> Parsed {
    script(ScriptCommand::Load { text: words.word()? })
}

pub(crate) fn exists(words: &mut Words<'_>) -> Parsed {
    script(ScriptCommand::Exists { hashes: words.rest() })
}

pub(crate) fn flush(words: &mut Words<'_>) -> Parsed {
    match (words.option(), words.len()) {
        (None, _) => script(ScriptCommand::Flush),
        (Some(when), 0) if when.eq_ignore_ascii_case(b"async") || when.eq_ignore_ascii_case(b"sync") => {
            script(ScriptCommand::Flush)
        }
        _ => Err(Failure::command("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
}

pub(crate) fn kill(_words: &mut Words<'_>) -> Parsed {
    Err(Failure::command("NOTBUSY No scripts in execution right now."))
}

/// Answers SCRIPT.
pub(crate) fn answer(command: &ScriptCommand) -> Result<Reply, Failure> {
    match command {
        ScriptCommand::Load { text } => by_text(text).map(|known| Reply::fixed(known.sha)).ok_or(UNKNOWN_SCRIPT),
        ScriptCommand::Exists { hashes } => {
            let exists = |hash: &bytes::Bytes| Reply::Int(i64::from(by_sha(hash).is_some()));
            Ok(Reply::Array(hashes.iter().map(exists).collect()))
        }
        ScriptCommand::Flush => Ok(Reply::Ok),
    }
}
