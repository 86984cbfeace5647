//! What is typed, and what is said about it.

use bytes::Bytes;
use simplekv_resp::decode::Frame;

use crate::connection::{Connection, ConnectionError, Server};
use crate::reply::{self, Style};
use crate::{help, line};

/// Most redirects one command follows.
const REDIRECTS_MAX: usize = 5;

/// What a line led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Said { text: String, is_error: bool },
    Clear,
    Exit,
}

/// A conversation with a router or node.
#[derive(Debug)]
pub(crate) struct Session {
    server: Server,
    style: Style,
    connection: Option<Connection>,
}

impl Session {
    /// Connects when the first command comes.
    pub(crate) fn new(server: Server, raw: bool) -> Self {
        Self { server, style: if raw { Style::Redis } else { Style::Words }, connection: None }
    }

    /// Whom the next command goes to.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Connects at once, so that it is told at once if that does not work.
    pub(crate) fn greet(&mut self) -> Result<(), ConnectionError> {
        self.connection().map(|_| ())
    }

    /// Runs a typed line. `None` if there is nothing on it.
    pub(crate) fn run_line(&mut self, line: &[u8]) -> Option<Step> {
        match line::words(line) {
            Ok(words) if words.is_empty() => None,
            Ok(words) => Some(self.run(&words)),
            Err(text) => Some(Step::Said { text, is_error: true }),
        }
    }

    /// Runs a command.
    pub(crate) fn run(&mut self, words: &[Bytes]) -> Step {
        let text = |word: &Bytes| String::from_utf8_lossy(word).into_owned();
        let said = |text| Step::Said { text, is_error: false };
        match words.first().map(|name| name.to_ascii_lowercase()).as_deref() {
            Some(b"exit" | b"quit") => return Step::Exit,
            Some(b"clear") => return Step::Clear,
            Some(b"help" | b"?") => return said(help::text(&words.iter().skip(1).map(text).collect::<Vec<_>>())),
            _ => (),
        }
        match self.ask(words) {
            Ok(frame) => {
                let is_error = matches!(frame, Frame::Error(_));
                Step::Said { text: reply::render(words, &frame, self.style), is_error }
            }
            Err(error) => Step::Said { text: format!("(error) {error}"), is_error: true },
        }
    }

    /// Asks, and follows a node that says who is to be asked.
    fn ask(&mut self, words: &[Bytes]) -> Result<Frame, ConnectionError> {
        for _ in 0..REDIRECTS_MAX {
            let frame = self.ask_once(words)?;
            match moved_to(&frame) {
                Some(server) => {
                    self.server = server;
                    self.connection = None;
                }
                None => return Ok(frame),
            }
        }
        self.ask_once(words)
    }

    fn ask_once(&mut self, words: &[Bytes]) -> Result<Frame, ConnectionError> {
        // A connection closed meanwhile is noticed before anything is sent: what was not sent can be sent again without doubt.
        if self.connection.as_ref().is_some_and(Connection::is_stale) {
            self.connection = None;
        }
        let result = self.connection()?.ask(words);
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    fn connection(&mut self) -> Result<&mut Connection, ConnectionError> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            empty => Ok(empty.insert(Connection::open(&self.server)?)),
        }
    }
}

/// Whom a node names: `MOVED 3999 127.0.0.1:7421`.
fn moved_to(frame: &Frame) -> Option<Server> {
    let Frame::Error(text) = frame else { return None };
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.strip_prefix("MOVED ")?.split(' ');
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_the_next_server() {
        let error = |text: &'static str| Frame::Error(text.into());
        assert_eq!(moved_to(&error("MOVED 3999 10.0.0.1:7421")), Some(Server::new("10.0.0.1", 7421)));
        assert_eq!(moved_to(&error("MOVED 3999")), None);
        assert_eq!(moved_to(&error("ERR MOVED")), None);
        assert_eq!(moved_to(&Frame::Int(1)), None);
    }
}
