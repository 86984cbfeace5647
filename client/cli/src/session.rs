//! What is typed, and what is said about it.

use std::time::Duration;

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
    Said { text: Vec<u8>, is_error: bool },
    Clear,
    Exit,
}

/// A conversation with a router or node.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whom we were told to talk to.
    given: Server,
    /// Whom the next command goes to: where the last redirect led, or the given one.
    server: Server,
    style: Style,
    patience: Option<Duration>,
    connection: Option<Connection>,
}

impl Session {
    /// Connects when the first command comes.
    pub(crate) fn new(server: Server, style: Style, patience: Option<Duration>) -> Self {
        Self { given: server.clone(), server, style, patience, connection: None }
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
            Err(text) => Some(Step::Said { text: text.into_bytes(), is_error: true }),
        }
    }

    /// Runs a command.
    pub(crate) fn run(&mut self, words: &[Bytes]) -> Step {
        let text = |word: &Bytes| String::from_utf8_lossy(word).into_owned();
        let said = |text: String| Step::Said { text: text.into_bytes(), is_error: false };
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
            Err(error) => Step::Said { text: format!("(error) {error}").into_bytes(), is_error: true },
        }
    }

    /// Asks, and follows a node that says who is to be asked. If that one is gone, the given server is asked who took over.
    fn ask(&mut self, words: &[Bytes]) -> Result<Frame, ConnectionError> {
        for _ in 0..REDIRECTS_MAX {
            let was_led_here = self.server != self.given;
            match self.ask_once(words) {
                Ok(frame) => match moved_to(&frame) {
                    Some(server) => {
                        self.server = server;
                        self.connection = None;
                    }
                    None => return Ok(frame),
                },
                // Nothing was sent.
                Err(ConnectionError::Connect { .. }) if was_led_here => (),
                Err(error) => return Err(error),
            }
        }
        self.ask_once(words)
    }

    fn ask_once(&mut self, words: &[Bytes]) -> Result<Frame, ConnectionError> {
        // A connection closed meanwhile is noticed before anything is sent: what was not sent can be sent again without doubt.
        if self.connection.as_ref().is_some_and(Connection::is_stale) {
            self.connection = None;
        }
        let result = self.connection().and_then(|connection| connection.ask(words));
        if result.is_err() {
            self.connection = None;
            self.server = self.given.clone();
        }
        result
    }

    fn connection(&mut self) -> Result<&mut Connection, ConnectionError> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            empty => Ok(empty.insert(Connection::open(&self.server, self.patience)?)),
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
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one of these answers on each connection, then waits for the other side to close it.
    fn server(answers: Vec<String>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        Server::new("127.0.0.1", address.port())
    }

    fn said(session: &mut Session, line: &str) -> String {
        match session.run_line(line.as_bytes()) {
            Some(Step::Said { text, .. }) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_redirect_to_nobody_leads_back_to_the_given_server() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let given = server(vec![format!("-MOVED 5 {nobody}\r\n"), "$1\r\nv\r\n".to_owned()]);
        let mut session = Session::new(given.clone(), Style::Words, None);
        assert_eq!(said(&mut session, "get k"), "v");
        assert_eq!(session.server(), &given);
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
        let silent = server(vec![String::new()]);
        let mut session = Session::new(silent, Style::Words, Some(Duration::from_millis(50)));
        let said = said(&mut session, "set k v");
        assert!(said.contains("may have been executed: no answer within 50ms"), "{said}");
    }

    #[test]
    fn a_redirect_names_the_next_server() {
        let error = |text: &'static str| Frame::Error(text.into());
        assert_eq!(moved_to(&error("MOVED 3999 10.0.0.1:7421")), Some(Server::new("10.0.0.1", 7421)));
        assert_eq!(moved_to(&error("MOVED 3999")), None);
        assert_eq!(moved_to(&error("ERR MOVED")), None);
        assert_eq!(moved_to(&Frame::Int(1)), None);
    }
}
