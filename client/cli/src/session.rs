//! What is typed, and what is said about it.

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use simplekv_resp::decode::Frame;
use simplekv_resp::table::{self, Flags};
use simplekv_types::{ReadPolicy, SessionToken};

use crate::connection::{Connection, ConnectionError, Server};
use crate::directive::Directive;
use crate::reply::{self, Style};
use crate::{help, json, line, route};

/// Most redirects one command follows.
const REDIRECTS_MAX: usize = 5;

/// What a line led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Said {
        text: Vec<u8>,
        is_error: bool,
    },
    /// Said, and more is to be heard without asking: [`Session::listen`].
    Listening {
        text: Vec<u8>,
    },
    Clear,
    Exit,
}

/// What reads were chosen to be promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) policy: ReadPolicy,
    /// In a session, what it has seen: it goes on with that on the next connection.
    pub(crate) token: Option<SessionToken>,
}

impl Reads {
    /// What tells a server.
    pub(crate) fn request(&self) -> Vec<Bytes> {
        let token = self.token.as_ref().map(|token| token.to_string().into());
        words(&["CLIENT", "READ", &self.policy.to_string()]).into_iter().chain(token).collect()
    }

    fn is_session(&self) -> bool {
        matches!(self.policy, ReadPolicy::Session { .. })
    }
}

/// A conversation with a router or node.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whom we were told to talk to.
    given: Server,
    /// Whom the next command goes to: where the last redirect led, or the given one.
    server: Server,
    style: Style,
    /// The style and the protocol when JSON is not asked for.
    usual: (Style, bool),
    resp3: bool,
    patience: Option<Duration>,
    shows_time: bool,
    /// `None` until it is chosen.
    reads: Option<Reads>,
    /// Whether commands are kept for EXEC, since MULTI.
    is_collecting: bool,
    connection: Option<Connection>,
}

impl Session {
    /// Connects when the first command comes.
    pub(crate) fn new(server: Server, style: Style, resp3: bool, patience: Option<Duration>) -> Self {
        let usual = if style == Style::Json { (Style::Words, false) } else { (style, resp3) };
        let (shows_time, is_collecting) = (false, false);
        Self {
            given: server.clone(),
            server,
            style,
            usual,
            resp3,
            patience,
            shows_time,
            reads: None,
            is_collecting,
            connection: None,
        }
    }

    /// Whom the next command goes to, and what is special about how.
    pub(crate) fn prompt(&self) -> String {
        let policy = self.reads.as_ref().map(|reads| reads.policy).filter(|policy| *policy != ReadPolicy::Linearizable);
        let policy = policy.map_or_else(String::new, |policy| format!(" {policy}"));
        format!("{}{}{policy}", self.server, if self.is_collecting { "(TX)" } else { "" })
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
            Err(text) => Some(match self.style {
                Style::Json => self.complaint("input", &text),
                _ => Step::Said { text: text.into_bytes(), is_error: true },
            }),
        }
    }

    /// Runs a command, or does what the command line itself is told.
    pub(crate) fn run(&mut self, words: &[Bytes]) -> Step {
        let topic = || words.iter().skip(1).map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>();
        match words.first().map(|name| name.to_ascii_lowercase()).as_deref() {
            Some(b"exit" | b"quit") => Step::Exit,
            Some(b"clear") => Step::Clear,
            Some(b"help" | b"?") => self.said(help::text(&topic())),
            Some([b':', ..]) => match Directive::parse(words) {
                Ok(directive) => self.direct(directive),
                Err(text) => self.complaint("input", &text),
            },
            _ => self.command(words),
        }
    }

    fn command(&mut self, words: &[Bytes]) -> Step {
        let begun = Instant::now();
        let frame = match self.ask(words) {
            Ok(frame) => frame,
            Err(error) => return self.complaint("connection", &error.to_string()),
        };
        let took = begun.elapsed();
        let is_error = matches!(frame, Frame::Error(_));
        let mut text = reply::render(words, &frame, self.style);
        if is_subscription(words) && !is_error && !self.is_collecting {
            return Step::Listening { text };
        }
        if let Err(error) = self.update_token() {
            let lost = format!("{error}\nWhat was done last is not part of the session.");
            text.push(b'\n');
            text.extend(reply::complaint("connection", &lost, self.style));
            return Step::Said { text, is_error: true };
        }
        if self.shows_time && self.style != Style::Json {
            text.extend_from_slice(format!("\n({:.2} ms)", took.as_secs_f64() * 1000.0).as_bytes());
        }
        Step::Said { text, is_error }
    }

    /// Prints what is said in channels until the connection ends.
    pub(crate) fn listen(&mut self, mut text: Vec<u8>, delimiter: &[u8], out: &mut impl Write) -> anyhow::Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        connection.set_patience(None)?;
        loop {
            text.extend_from_slice(delimiter);
            out.write_all(&text)?;
            out.flush()?;
            match connection.next() {
                Ok(frame) => text = reply::render(&[], &frame, self.style),
                Err(error) => {
                    self.disconnect();
                    return Err(error.into());
                }
            }
        }
    }

    fn direct(&mut self, directive: Directive) -> Step {
        match directive {
            Directive::ShowRead => {
                let policy = self.reads.as_ref().map(|reads| reads.policy);
                self.said(
                    policy.map_or_else(|| "not chosen: what the server does by itself".to_owned(), |p| p.to_string()),
                )
            }
            Directive::Read { policy, token } => self.choose(&Reads { policy, token }),
            Directive::ShowToken => self.command(&words(&["CLIENT", "TOKEN"])),
            Directive::Route { key } => self.route(&key),
            Directive::Json(is_on) => self.speak_json(is_on),
            Directive::Time(is_on) => {
                self.shows_time = is_on;
                self.said("OK".to_owned())
            }
            Directive::Help(topic) => self.said(help::text(&topic)),
            Directive::Quit => Step::Exit,
        }
    }

    fn choose(&mut self, reads: &Reads) -> Step {
        match self.command(&reads.request()) {
            Step::Said { is_error: false, .. } => self.said(format!("reads are {} from now on", reads.policy)),
            refused => refused,
        }
    }

    fn route(&mut self, key: &Bytes) -> Step {
        let frame = match self.ask(&[words(&["CLIENT", "ROUTE"]), vec![key.clone()]].concat()) {
            Ok(frame) => frame,
            Err(error) => return self.complaint("connection", &error.to_string()),
        };
        let Some(place) = route::Place::read(&frame) else {
            // The refusal, or what only another program can make something of.
            let is_error = matches!(frame, Frame::Error(_));
            return Step::Said { text: reply::render(&[], &frame, self.style), is_error };
        };
        let place = place.try_replicas(key, self.reads.as_ref(), route::PATIENCE);
        let text = match self.style {
            Style::Json => json::text(&place.frame()),
            _ => place.text(key).into_bytes(),
        };
        Step::Said { text, is_error: false }
    }

    fn speak_json(&mut self, is_on: bool) -> Step {
        let (style, resp3) = if is_on { (Style::Json, true) } else { self.usual };
        if resp3 != self.resp3 {
            if self.is_collecting {
                return self.complaint("input", "not between MULTI and EXEC");
            }
            self.resp3 = resp3;
            let hello = hello(resp3);
            if let Some(Err(error)) = self.connection.as_mut().map(|connection| connection.begin_with(&hello)) {
                self.disconnect();
                return self.complaint("connection", &error.to_string());
            }
        }
        self.style = style;
        self.said("OK".to_owned())
    }

    /// Something of our own to say.
    fn said(&self, text: String) -> Step {
        let text = match self.style {
            Style::Json => json::text(&Frame::Text(text.into())),
            _ => text.into_bytes(),
        };
        Step::Said { text, is_error: false }
    }

    fn complaint(&self, code: &str, text: &str) -> Step {
        Step::Said { text: reply::complaint(code, text, self.style), is_error: true }
    }

    /// Asks, and follows a node that says who is to be asked. If that one is gone, the given server is asked who took over.
    fn ask(&mut self, words: &[Bytes]) -> Result<Frame, ConnectionError> {
        for _ in 0..REDIRECTS_MAX {
            let was_led_here = self.server != self.given;
            match self.ask_once(words) {
                // A transaction stays where it was begun.
                Ok(frame) => match moved_to(&frame).filter(|_| !self.is_collecting) {
                    Some(server) => {
                        self.server = server;
                        self.connection = None;
                    }
                    None => {
                        self.notice(words, &frame);
                        return Ok(frame);
                    }
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
            if std::mem::take(&mut self.is_collecting) {
                return Err(ConnectionError::Closed { server: self.server.clone() });
            }
        }
        // Who waits for a key says how long himself.
        let waits =
            words.first().and_then(|name| table::find(name)).is_some_and(|spec| spec.flags.contains(Flags::BLOCKING));
        let patience = self.patience;
        let result = self.connection().and_then(|connection| {
            if !waits {
                return if is_subscription(words) {
                    connection.tell(words).and_then(|()| connection.next())
                } else {
                    connection.ask(words)
                };
            }
            connection.set_patience(None)?;
            let answer = connection.ask(words)?;
            connection.set_patience(patience)?;
            Ok(answer)
        });
        if result.is_err() {
            self.disconnect();
        }
        result
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.is_collecting = false;
        self.server = self.given.clone();
    }

    fn connection(&mut self) -> Result<&mut Connection, ConnectionError> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            empty => {
                let mut connection = Connection::open(&self.server, self.patience)?;
                if self.resp3 {
                    connection.begin_with(&hello(true))?;
                }
                if let Some(reads) = &self.reads {
                    connection.begin_with(&reads.request())?;
                }
                Ok(empty.insert(connection))
            }
        }
    }

    /// Keeps in mind what a connection was told, for the prompt and for the next connection.
    fn notice(&mut self, words: &[Bytes], reply: &Frame) {
        let words: Vec<String> =
            words.iter().take(5).map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let is_done = !matches!(reply, Frame::Error(_));
        match words.as_slice() {
            // After these nothing is kept any more, whatever they were answered.
            ["exec" | "discard"] => self.is_collecting = false,
            _ if !is_done || self.is_collecting && words != ["reset"] => (),
            ["multi"] => self.is_collecting = true,
            ["readonly" | "readwrite"] => self.reads = None,
            ["reset"] => {
                self.reads = None;
                // The next one begins with the protocol that was asked for.
                self.disconnect();
            }
            ["client", "read", chosen @ ..] => {
                if let Ok(Directive::Read { policy, token }) = Directive::read(chosen) {
                    self.reads = Some(Reads { policy, token });
                }
            }
            _ => (),
        }
    }

    /// Learns what the session has seen. Between MULTI and EXEC nothing is seen, and nothing else may be asked.
    fn update_token(&mut self) -> Result<(), ConnectionError> {
        if self.is_collecting || !self.reads.as_ref().is_some_and(Reads::is_session) {
            return Ok(());
        }
        let told = self.ask_once(&words(&["CLIENT", "TOKEN"]))?;
        let token = told.as_bytes().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        if let (Some(reads), Some(token)) = (&mut self.reads, token) {
            reads.token = Some(token);
        }
        Ok(())
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn hello(resp3: bool) -> Vec<Bytes> {
    words(&["HELLO", if resp3 { "3" } else { "2" }])
}

fn is_subscription(words: &[Bytes]) -> bool {
    let is = |name: &[u8]| words.first().is_some_and(|word| word.eq_ignore_ascii_case(name));
    is(b"subscribe") || is(b"psubscribe") || is(b"ssubscribe")
}

/// Whom a node names: `MOVED 3999 127.0.0.1:7421`.
pub(crate) fn moved_to(frame: &Frame) -> Option<Server> {
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
        let mut session = Session::new(given.clone(), Style::Words, false, None);
        assert_eq!(said(&mut session, "get k"), "v");
        assert_eq!(session.prompt(), given.to_string());
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
        let silent = server(vec![String::new()]);
        let mut session = Session::new(silent, Style::Words, false, Some(Duration::from_millis(50)));
        let said = said(&mut session, "set k v");
        assert!(said.contains("may have been executed: no answer within 50ms"), "{said}");
    }

    /// A server that answers the requests of one connection one after the other, and tells what it was asked.
    fn talk(answers: &'static [&'static str]) -> (Server, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::new("127.0.0.1", listener.local_addr().unwrap().port());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut parser, mut input) = (simplekv_resp::Parser::default(), bytes::BytesMut::new());
            let mut asked = Vec::new();
            for answer in answers {
                let words = loop {
                    if let Some(words) = parser.next(&mut input).unwrap() {
                        break words;
                    }
                    let mut bytes = [0; 1024];
                    let count = stream.read(&mut bytes).unwrap();
                    assert!(count > 0, "it left after {asked:?}");
                    input.extend_from_slice(&bytes[..count]);
                };
                asked.push(words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" "));
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (server, asked)
    }

    #[test]
    fn what_reads_are_promised_is_told_the_server_and_shown_in_the_prompt() {
        let (server, asked) = talk(&["+OK\r\n", "$1\r\nv\r\n", "-ERR no\r\n", "+OK\r\n"]);
        let mut session = Session::new(server.clone(), Style::Words, false, None);
        assert_eq!(said(&mut session, ":read"), "not chosen: what the server does by itself");
        assert_eq!(said(&mut session, ":read bounded 100"), "reads are bounded=100ms from now on");
        assert_eq!(session.prompt(), format!("{server} bounded=100ms"));
        assert_eq!(said(&mut session, "get k"), "v");
        assert_eq!(said(&mut session, ":read any"), "(error) ERR no");
        assert_eq!(said(&mut session, ":read"), "bounded=100ms", "it was refused");
        assert_eq!(said(&mut session, ":read linearizable"), "reads are linearizable from now on");
        assert_eq!(session.prompt(), server.to_string());
        let asked = asked.join().unwrap();
        assert_eq!(asked, ["CLIENT READ bounded=100ms", "get k", "CLIENT READ any", "CLIENT READ linearizable"]);
    }

    #[test]
    fn a_session_goes_on_with_what_it_has_seen_on_the_next_connection() {
        const TOKEN: &str = "$14\r\ns1-g1.5.0.3.42\r\n";
        let (first, asked_first) = talk(&["+OK\r\n", "$2\r\ns1\r\n", "+OK\r\n", TOKEN]);
        let mut session = Session::new(first, Style::Words, false, None);
        said(&mut session, ":session on");
        assert_eq!(said(&mut session, "set k v"), "OK");
        assert_eq!(asked_first.join().unwrap(), ["CLIENT READ session", "CLIENT TOKEN", "set k v", "CLIENT TOKEN"]);
        let (second, asked_second) = talk(&["+OK\r\n", "$1\r\nv\r\n", TOKEN]);
        (session.given, session.server, session.connection) = (second.clone(), second, None);
        assert_eq!(said(&mut session, "get k"), "v");
        assert_eq!(asked_second.join().unwrap(), ["CLIENT READ session s1-g1.5.0.3.42", "get k", "CLIENT TOKEN"]);
    }

    #[test]
    fn between_multi_and_exec_nothing_else_is_asked() {
        let (server, asked) = talk(&[
            "+OK\r\n",
            "$2\r\ns1\r\n",
            "+OK\r\n",
            "+QUEUED\r\n",
            "-MOVED 1 127.0.0.1:1\r\n",
            "*0\r\n",
            "$2\r\ns1\r\n",
        ]);
        let mut session = Session::new(server.clone(), Style::Words, false, None);
        said(&mut session, ":session on");
        said(&mut session, "multi");
        assert_eq!(session.prompt(), format!("{server}(TX) session"));
        said(&mut session, "set k v");
        assert_eq!(said(&mut session, "set k w"), "(error) MOVED 1 127.0.0.1:1", "it stays where it was begun");
        said(&mut session, "exec");
        assert_eq!(session.prompt(), format!("{server} session"));
        let asked = asked.join().unwrap();
        let expected = ["CLIENT READ session", "CLIENT TOKEN", "multi", "set k v", "set k w", "exec", "CLIENT TOKEN"];
        assert_eq!(asked, expected);
    }

    #[test]
    fn a_transaction_ends_with_its_connection() {
        let (server, asked) = talk(&["+OK\r\n"]);
        let mut session = Session::new(server.clone(), Style::Words, false, None);
        said(&mut session, "multi");
        asked.join().unwrap();
        // The other side is closed once its end is seen here.
        let connection = session.connection.as_mut().unwrap();
        assert!(connection.next().is_err());
        let text = said(&mut session, "set k v");
        assert_eq!(text, format!("(error) the connection to {server} was closed, and with it the transaction"));
        assert_eq!(session.prompt(), server.to_string());
    }

    #[test]
    fn json_speaks_of_everything() {
        let (server, asked) =
            talk(&["%1\r\n+proto\r\n:3\r\n", "%1\r\n$1\r\na\r\n$1\r\n1\r\n", "-WRONGTYPE x\r\n", "*0\r\n"]);
        let mut session = Session::new(server, Style::Words, false, None);
        assert_eq!(said(&mut session, ":json on"), r#""OK""#);
        assert_eq!(said(&mut session, "hgetall h"), r#"{"a":"1"}"#);
        assert_eq!(said(&mut session, "get h"), r#"{"error":{"code":"WRONGTYPE","message":"x"}}"#);
        assert!(said(&mut session, ":json maybe").starts_with(r#"{"error":{"code":"input","message":"usage: :json "#));
        assert!(said(&mut session, "get \"h").starts_with(r#"{"error":{"code":"input","message":"invalid argument"#));
        assert_eq!(said(&mut session, ":json off"), "OK");
        assert_eq!(asked.join().unwrap(), ["HELLO 3", "hgetall h", "get h", "HELLO 2"]);
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
