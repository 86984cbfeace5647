//! What a transaction is to do.

use serde::Deserialize;

use super::Refusal;

/// A command. JSON has no other keys and values than texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Get { key: String },
    Set { key: String, value: String },
}

impl Command {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Get { key } | Self::Set { key, .. } => key,
        }
    }
}

/// What is left out or null is empty, as the original has it; unknown fields mean nothing.
#[derive(Default, Deserialize)]
struct Body {
    commands: Option<Vec<Option<Words>>>,
}

#[derive(Default, Deserialize)]
struct Words {
    cmd_type: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

/// Nothing is done unless all of it can be understood. What the body claims to be does not matter: the original does not look.
pub(super) fn read(body: &[u8]) -> Result<Vec<Command>, Refusal> {
    let unread = |error: serde_json::Error| Refusal::bad(format!("could not bind request: {error}"));
    // What comes behind the first JSON value is left unread, as the original leaves it.
    let first = serde_json::Deserializer::from_slice(body).into_iter::<Option<Body>>().next();
    let body = first.ok_or_else(|| Refusal::bad("could not bind request: EOF"))?.map_err(unread)?;
    let commands = body.unwrap_or_default().commands.ok_or_else(|| Refusal::bad("empty request"))?;
    commands.into_iter().map(|words| command(words.unwrap_or_default())).collect()
}

fn command(words: Words) -> Result<Command, Refusal> {
    let Words { cmd_type, key, value } = words;
    let (name, key) = (cmd_type.unwrap_or_default(), key.unwrap_or_default());
    match name.to_uppercase().as_str() {
        "GET" => Ok(Command::Get { key }),
        "SET" => Ok(Command::Set { key, value: value.unwrap_or_default() }),
        _ => Err(Refusal::bad("unknown command")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        read(body.as_bytes()).unwrap_err().error
    }

    #[test]
    fn commands_are_read_as_the_original_reads_them() {
        let body = r#"{"commands":[{"cmd_type":"gEt","key":"a","more":1},{"cmd_type":"set","key":"a","value":"b"},
            {"cmd_type":"SET","key":null}]} and so on"#;
        let (a, b, none) = ("a".to_owned(), "b".to_owned(), String::new());
        let expected = vec![
            Command::Get { key: a.clone() },
            Command::Set { key: a, value: b },
            Command::Set { key: none.clone(), value: none },
        ];
        assert_eq!(read(body.as_bytes()), Ok(expected));
        assert_eq!(read(br#"{"commands":[]}"#), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_its_words() {
        for body in ["{}", "null", r#"{"commands":null}"#] {
            assert_eq!(error(body), "empty request", "{body}");
        }
        for body in ["", "{", "[1]", r#"{"commands":{}}"#, r#"{"commands":[{"cmd_type":"get","key":1}]}"#] {
            assert!(error(body).starts_with("could not bind request: "), "{body}: {}", error(body));
        }
        for body in [r#"{"commands":[{"cmd_type":"get","key":"a"},{}]}"#, r#"{"commands":[null]}"#] {
            assert_eq!(error(body), "unknown command", "{body}");
        }
    }
}
