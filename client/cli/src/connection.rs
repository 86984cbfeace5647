//! The connection to a router or node.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use simplekv_resp::ReplyError;
use simplekv_resp::decode::{Decoder, Frame};
use simplekv_resp::encode;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_BYTES: usize = 64 << 10;

/// Where a router or node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    host: String,
    port: u16,
}

impl Server {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self { host: host.trim_matches(['[', ']']).to_owned(), port }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("expected host:port")?;
        let port = port.parse().map_err(|_| format!("`{port}` is not a port"))?;
        if host.is_empty() { Err("expected host:port".into()) } else { Ok(Self::new(host, port)) }
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("cannot connect to {server}: {reason}{}", advice(reason))]
    Connect { server: Server, reason: io::Error },
    /// The request was sent; a write may have been done.
    #[error("the connection to {server} was lost, the command may have been executed: {reason}")]
    Lost { server: Server, reason: io::Error },
    /// While nothing was asked, between MULTI and EXEC.
    #[error("the connection to {server} was closed, and with it the transaction")]
    Closed { server: Server },
    #[error("{server} does not speak the Redis protocol: {reason}")]
    Foreign { server: Server, reason: ReplyError },
    /// What a new connection is to begin with; the command itself was not sent.
    #[error("{server} refuses {request}: {reason}")]
    Refused { server: Server, request: String, reason: String },
}

fn advice(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::ConnectionRefused => {
            "\nNothing listens there. Start a cluster with `make run`, or name another address with --server HOST:PORT."
        }
        _ => "",
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Server,
    /// How long an answer is waited for, counted anew whenever some of it comes; `None` for ever.
    patience: Option<Duration>,
    stream: TcpStream,
    input: BytesMut,
    decoder: Decoder,
}

impl Connection {
    pub(crate) fn open(server: &Server, patience: Option<Duration>) -> Result<Self, ConnectionError> {
        let stream =
            connect(server, patience).map_err(|reason| ConnectionError::Connect { server: server.clone(), reason })?;
        Ok(Self { server: server.clone(), patience, stream, input: BytesMut::new(), decoder: Decoder::new() })
    }

    /// Whether the other side has closed the connection while nothing was asked.
    pub(crate) fn is_stale(&self) -> bool {
        let mut byte = [0];
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut byte));
        let is_blocking = self.stream.set_nonblocking(false).is_ok();
        !is_blocking || !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Asks something that has to be answered with anything but an error.
    pub(crate) fn begin_with(&mut self, words: &[Bytes]) -> Result<(), ConnectionError> {
        let Frame::Error(reason) = self.ask(words)? else { return Ok(()) };
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let (request, reason) = (words.join(" "), String::from_utf8_lossy(&reason).into_owned());
        Err(ConnectionError::Refused { server: self.server.clone(), request, reason })
    }

    /// One request, and its reply.
    pub(crate) fn ask(&mut self, words: &[Bytes]) -> Result<Frame, ConnectionError> {
        self.tell(words)?;
        self.answer()
    }

    pub(crate) fn tell(&mut self, words: &[Bytes]) -> Result<(), ConnectionError> {
        let mut out = BytesMut::new();
        encode::request(words, &mut out);
        self.stream.write_all(&out).map_err(|reason| self.lost(reason))
    }

    /// The next reply. What the other side says unasked is passed over.
    pub(crate) fn answer(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            match self.next()? {
                Frame::Push(_) => (),
                frame => return Ok(frame),
            }
        }
    }

    /// Whatever comes next.
    pub(crate) fn next(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            match self.decoder.next(&mut self.input) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => (),
                Err(reason) => return Err(ConnectionError::Foreign { server: self.server.clone(), reason }),
            }
            let start = self.input.len();
            self.input.resize(start + READ_BYTES, 0);
            let read = self.stream.read(self.input.get_mut(start..).unwrap_or_default());
            self.input.truncate(start + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(0) => return Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => (),
                Err(reason) if reason.kind() == io::ErrorKind::Interrupted => (),
                Err(reason) => return Err(self.lost(reason)),
            }
        }
    }

    /// Another hand on the same connection, to write with while replies are read.
    pub(crate) fn writer(&self) -> Result<TcpStream, ConnectionError> {
        self.stream.try_clone().map_err(|reason| self.lost(reason))
    }

    /// Answers are waited for so long from here on; `None` for ever.
    pub(crate) fn set_patience(&mut self, patience: Option<Duration>) -> Result<(), ConnectionError> {
        self.patience = patience;
        self.stream.set_read_timeout(patience).map_err(|reason| self.lost(reason))
    }

    pub(crate) fn lost(&self, reason: io::Error) -> ConnectionError {
        let reason = match (reason.kind(), self.patience) {
            // What systems say when a socket's time is up, and neither tells anybody what happened.
            (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, Some(patience)) => {
                io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?} (see --timeout)"))
            }
            _ => reason,
        };
        ConnectionError::Lost { server: self.server.clone(), reason }
    }
}

fn connect(server: &Server, patience: Option<Duration>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_as_it_is_printed() {
        for text in ["127.0.0.1:7379", "db.example:1", "[::1]:7379"] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), text);
        }
        for text in ["", "7379", "h:", ":1", "h:70000"] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }
}
