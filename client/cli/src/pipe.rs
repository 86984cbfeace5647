//! Many commands at once: sent without waiting for each reply, which are only counted.
//!
//! One thread reads and sends, the other receives. What is not yet answered is known by where it ends in the input, in a queue of bounded
//! length; the bytes themselves are kept by nobody.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use simplekv_resp::decode::Frame;
use simplekv_resp::{Parser, RequestLimits, encode, table};

use crate::connection::{Connection, ConnectionError, Server};
use crate::session::words;

/// Most commands that are sent and not answered.
const UNANSWERED_MAX: usize = 16 << 10;
/// Sent together, if so many are at hand.
const BATCH_BYTES: usize = 64 << 10;
/// Errors that are shown; the others are only counted.
const SHOWN_MAX: u64 = 100;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    replies: u64,
    errors: u64,
    /// Bytes of the input that have been answered: everything up to the end of the last command that was.
    answered_bytes: u64,
    /// Bytes of the input that have been sent, at least in part.
    sent_bytes: u64,
    end: Result<(), Break>,
}

/// Why the input was not sent and answered to its end.
#[derive(Debug, thiserror::Error)]
enum Break {
    #[error("{0}")]
    Connection(ConnectionError),
    #[error("the input cannot be read: {0}")]
    Input(io::Error),
    #[error("the input cannot be understood: {0}")]
    Foreign(String),
    #[error("the input ends within a command")]
    Cut,
    #[error("{0} cannot be in a pipe: its replies could not be told from the others'")]
    Unfit(String),
}

impl Report {
    /// Whether everything was sent and answered, by nothing but replies that are no errors.
    pub(crate) fn is_well(&self) -> bool {
        self.end.is_ok() && self.errors == 0
    }

    /// As JSON.
    pub(crate) fn json(&self) -> String {
        let Self { replies, errors, answered_bytes, .. } = self;
        let is_complete = self.end.is_ok();
        format!(
            r#"{{"errors":{errors},"replies":{replies},"answered_bytes":{answered_bytes},"complete":{is_complete}}}"#
        )
    }

    fn complain(&self, out: &mut impl Write) -> io::Result<()> {
        let Err(end) = &self.end else { return Ok(()) };
        let Self { replies, answered_bytes, sent_bytes, .. } = self;
        writeln!(out, "{end}")?;
        writeln!(out, "{replies} commands were answered: the first {answered_bytes} bytes of the input.")?;
        if sent_bytes > answered_bytes {
            writeln!(out, "Those behind them, up to byte {sent_bytes}, were sent and may have been executed.")?;
        }
        writeln!(out, "To go on behind what was answered: tail -c +{} FILE | simplekv-cli --pipe", answered_bytes + 1)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errors: {}, replies: {}", self.errors, self.replies)
    }
}

/// Sends all commands of the input and counts the replies. Errors, and why it ended early if it did, are written to `complaints`.
///
/// # Errors
/// Nothing was sent: nobody is there, or the server has only a part of the keys. Or nobody reads the complaints.
pub(crate) fn run(
    server: &Server,
    patience: Option<Duration>,
    input: impl Read + Send + 'static,
    complaints: &mut impl Write,
) -> anyhow::Result<Report> {
    let mut connection = Connection::open(server, patience)?;
    refuse_parts(&mut connection, server)?;
    let (ends, unanswered) = sync_channel(UNANSWERED_MAX);
    let sent = Arc::new(AtomicU64::new(0));
    let feed =
        Feed { stream: connection.writer()?, ends, sent: Arc::clone(&sent), batch: BytesMut::new(), batch_end: 0 };
    // It may wait for input that never comes: nobody waits for it once the connection is lost.
    let feeding = std::thread::spawn(move || feed.run(input));
    let mut report = Report { replies: 0, errors: 0, answered_bytes: 0, sent_bytes: 0, end: Ok(()) };
    match count(&mut connection, &unanswered, &mut report, complaints)? {
        Err(lost) => report.end = Err(Break::Connection(lost)),
        Ok(()) => {
            report.end =
                feeding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(|end| match end {
                    // Everything that was announced has been answered, but not everything that was to be sent could be.
                    Fed::Lost(reason) => Break::Connection(connection.lost(reason)),
                    Fed::Broken(end) => end,
                });
        }
    }
    report.sent_bytes = sent.load(Ordering::Relaxed);
    report.complain(complaints)?;
    Ok(report)
}

/// A node that leads only some of the groups would redirect most of what it is sent.
fn refuse_parts(connection: &mut Connection, server: &Server) -> anyhow::Result<()> {
    // A router answers with an error: it is no cluster, it has all.
    let Frame::Array(rows) = connection.ask(&words(&["CLUSTER", "SLOTS"]))? else { return Ok(()) };
    let me = connection.ask(&words(&["CLUSTER", "MYID"]))?;
    let leader = |row: &Frame| match row {
        Frame::Array(row) => match row.get(2) {
            Some(Frame::Array(node)) => node.get(2).cloned(),
            _ => None,
        },
        _ => None,
    };
    let is_whole = rows.iter().all(|row| leader(row).is_none_or(|leader| leader.as_bytes() == me.as_bytes()));
    anyhow::ensure!(
        is_whole,
        "{server} is a node and leads only a part of the slots: a pipe needs a router, see --server"
    );
    Ok(())
}

/// Receives as many replies as are announced.
fn count(
    connection: &mut Connection,
    unanswered: &Receiver<u64>,
    report: &mut Report,
    complaints: &mut impl Write,
) -> io::Result<Result<(), ConnectionError>> {
    // Only while something is unanswered is anything waited for: the input may take its time.
    while let Ok(end) = unanswered.recv() {
        let reply = match connection.answer() {
            Ok(reply) => reply,
            Err(lost) => return Ok(Err(lost)),
        };
        report.replies += 1;
        if let Frame::Error(text) = reply {
            report.errors += 1;
            if report.errors <= SHOWN_MAX {
                writeln!(complaints, "at byte {}: {}", report.answered_bytes + 1, String::from_utf8_lossy(&text))?;
            }
            if report.errors == SHOWN_MAX {
                writeln!(complaints, "further errors are only counted")?;
            }
        }
        report.answered_bytes = end;
    }
    Ok(Ok(()))
}

/// Why no more is sent.
enum Fed {
    Lost(io::Error),
    Broken(Break),
}

/// The sending side.
struct Feed {
    stream: TcpStream,
    /// Announces each command by where it ends in the input, before any of it is sent.
    ends: SyncSender<u64>,
    /// Up to where in the input things have been sent, at least in part.
    sent: Arc<AtomicU64>,
    /// Announced, and not yet sent.
    batch: BytesMut,
    batch_end: u64,
}

impl Feed {
    fn run(mut self, mut input: impl Read) -> Result<(), Fed> {
        let limits =
            RequestLimits { inline_bytes: RequestLimits::default().argument_bytes, ..RequestLimits::default() };
        let mut parser = Parser::new(limits);
        let (mut buffer, mut read_bytes) = (BytesMut::new(), 0);
        loop {
            let told = self.take(&mut parser, &mut buffer, read_bytes);
            // Also what stands before something that cannot be understood.
            self.flush()?;
            told?;
            let start = buffer.len();
            buffer.resize(start + BATCH_BYTES, 0);
            let count = read(&mut input, buffer.get_mut(start..).unwrap_or_default());
            buffer.truncate(start + count.as_ref().map_or(0, |count| *count));
            match count.map_err(|error| Fed::Broken(Break::Input(error)))? {
                0 => break,
                count => read_bytes += count as u64,
            }
        }
        if buffer.first().is_some_and(|first| *first != b'*') {
            // The last line may lack its end. A byte more than there is would be answered: it is counted, and taken off again.
            buffer.extend_from_slice(b"\n");
            let told = self.take(&mut parser, &mut buffer, read_bytes);
            self.flush()?;
            told?;
        }
        if buffer.is_empty() { Ok(()) } else { Err(Fed::Broken(Break::Cut)) }
    }

    /// Takes whole commands off the buffer, whose end is so far into the input.
    fn take(&mut self, parser: &mut Parser, buffer: &mut BytesMut, read_bytes: u64) -> Result<(), Fed> {
        loop {
            let words = match parser.next(buffer) {
                Ok(Some(words)) => words,
                Ok(None) => return Ok(()),
                Err(error) => return Err(Fed::Broken(Break::Foreign(error.to_string()))),
            };
            if let Some(name) = unfit(&words) {
                return Err(Fed::Broken(Break::Unfit(name)));
            }
            self.announce(read_bytes - buffer.len() as u64)?;
            encode::request(&words, &mut self.batch);
            if self.batch.len() >= BATCH_BYTES {
                self.flush()?;
            }
        }
    }

    fn announce(&mut self, end: u64) -> Result<(), Fed> {
        match self.ends.try_send(end) {
            Ok(()) => (),
            // What is announced must be sent before waiting for it to be answered.
            Err(TrySendError::Full(end)) => {
                self.flush()?;
                self.ends.send(end).map_err(|_| gone())?;
            }
            Err(TrySendError::Disconnected(_)) => return Err(gone()),
        }
        self.batch_end = end;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fed> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.sent.store(self.batch_end, Ordering::Relaxed);
        self.stream.write_all(&self.batch).map_err(Fed::Lost)?;
        self.batch.clear();
        Ok(())
    }
}

/// Nobody receives any more, and nobody asks why.
fn gone() -> Fed {
    Fed::Lost(io::ErrorKind::BrokenPipe.into())
}

fn read(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            done => return done,
        }
    }
}

/// The name of a command that is not answered by one reply.
fn unfit(words: &[Bytes]) -> Option<String> {
    let spec = table::find(words.first()?)?;
    let sub = words.get(1).filter(|_| spec.name == "client").map(|sub| sub.to_ascii_lowercase());
    match spec.name {
        "subscribe" | "psubscribe" | "ssubscribe" | "unsubscribe" | "punsubscribe" | "sunsubscribe" | "quit" => {
            Some(spec.name.to_ascii_uppercase())
        }
        "client" if sub.is_some_and(|sub| sub == b"reply") => Some("CLIENT REPLY".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that has all keys, answers so many requests, each with the next of the answers, and then closes the connection.
    fn server(answers: &'static [&'static str], count: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::new("127.0.0.1", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut parser, mut input) = (Parser::default(), BytesMut::new());
            let mut answered = 0;
            loop {
                let mut out = Vec::new();
                while answered < count + 1 && parser.next(&mut input).unwrap().is_some() {
                    let answer =
                        if answered == 0 { "-ERR no cluster\r\n" } else { answers[(answered - 1) % answers.len()] };
                    out.extend_from_slice(answer.as_bytes());
                    answered += 1;
                }
                stream.write_all(&out).unwrap();
                let mut bytes = [0; 4096];
                if answered > count {
                    // What is still on its way here must not make the answers vanish: closed first, then read to the end.
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let _ = stream.read_to_end(&mut Vec::new());
                    return;
                }
                let read = stream.read(&mut bytes).unwrap();
                if read == 0 {
                    return;
                }
                input.extend_from_slice(&bytes[..read]);
            }
        });
        server
    }

    fn piped(server: &Server, input: impl Into<Vec<u8>>) -> (Report, String) {
        let mut complaints = Vec::new();
        let report = run(server, None, io::Cursor::new(input.into()), &mut complaints).unwrap();
        (report, String::from_utf8(complaints).unwrap())
    }

    #[test]
    fn replies_and_errors_are_counted() {
        let server = server(&["+OK\r\n", "-ERR no\r\n", ">1\r\n+push\r\n$-1\r\n"], usize::MAX - 1);
        let (report, complaints) = piped(&server, "set a 1\r\n\n*2\r\n$3\r\nget\r\n$1\r\na\r\nget 'b c'");
        assert_eq!(report.to_string(), "errors: 1, replies: 3");
        assert_eq!(report.json(), r#"{"errors":1,"replies":3,"answered_bytes":39,"complete":true}"#);
        assert_eq!(complaints, "at byte 10: ERR no\n");
        assert!(!report.is_well());
    }

    #[test]
    fn more_than_may_be_unanswered_go_through() {
        let server = server(&["+OK\r\n"], usize::MAX - 1);
        let count = 3 * UNANSWERED_MAX;
        let (report, complaints) = piped(&server, "set key value\n".repeat(count));
        assert_eq!(report.to_string(), format!("errors: 0, replies: {count}"));
        assert_eq!(complaints, "");
        assert!(report.is_well());
    }

    #[test]
    fn a_lost_connection_is_told_with_where_to_go_on() {
        let server = server(&["+OK\r\n"], 3);
        let (report, complaints) = piped(&server, "set a 1\n".repeat(10));
        assert_eq!((report.replies, report.answered_bytes, report.is_well()), (3, 24, false));
        let lines: Vec<&str> = complaints.lines().collect();
        assert!(lines[0].starts_with(&format!("the connection to {server} was lost, ")), "{complaints}");
        assert_eq!(
            lines[1..],
            [
                "3 commands were answered: the first 24 bytes of the input.",
                "Those behind them, up to byte 80, were sent and may have been executed.",
                "To go on behind what was answered: tail -c +25 FILE | simplekv-cli --pipe",
            ]
        );
    }

    #[test]
    fn what_cannot_be_sent_ends_it_behind_what_was() {
        for (input, replies, complaint) in [
            ("set a 1\n*2\r\n$3\r\nget\r\n$1\r\n", 1, "the input ends within a command"),
            ("set a 1\n*2\r\nget\r\n", 1, "the input cannot be understood: "),
            ("set a 1\nset b 2\nsubscribe x\nset c 3\n", 2, "SUBSCRIBE cannot be in a pipe"),
            ("client reply off\n", 0, "CLIENT REPLY cannot be in a pipe"),
        ] {
            let server = server(&["+OK\r\n"], usize::MAX - 1);
            let (report, complaints) = piped(&server, input);
            assert_eq!(report.replies, replies, "{input}");
            assert!(complaints.starts_with(complaint), "{complaints}");
            assert!(complaints.contains(&format!("tail -c +{} FILE", replies * 8 + 1)), "{complaints}");
            assert!(!report.is_well());
        }
    }

    #[test]
    fn nothing_to_send_is_fine() {
        let server = server(&["+OK\r\n"], usize::MAX - 1);
        let (report, _) = piped(&server, "\n\n");
        assert!(report.is_well());
        assert_eq!(report.to_string(), "errors: 0, replies: 0");
    }
}
