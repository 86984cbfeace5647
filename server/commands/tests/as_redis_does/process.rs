//! A real Redis, started for one test in a directory of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use bytes::BytesMut;
use simplekv_resp::decode::{Decoder, Frame};
use simplekv_resp::encode;
use tempfile::TempDir;

pub(crate) struct Redis {
    process: Child,
    dir: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A socket in the directory instead of a port: no two tests can meet.
        let mut process = Command::new("redis-server")
            // SORT ALPHA compares as people of a place do; ours is nowhere.
            .env("LC_ALL", "C")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"])
            .arg(dir.path().join("redis.sock"))
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test compares with a real Redis: install it with `apt-get install redis-server`");
        let log = BufReader::new(process.stdout.take().unwrap());
        let ready = log.lines().map_while(Result::ok).any(|line| line.contains("ready to accept connections"));
        assert!(ready, "redis-server ended before it was ready");
        Self { process, dir }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection {
            stream: UnixStream::connect(self.dir.path().join("redis.sock")).unwrap(),
            decoder: Decoder::new(),
            received: BytesMut::new(),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

pub(crate) struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    received: BytesMut,
}

impl Connection {
    /// Sends all requests at once and returns their replies.
    pub(crate) fn ask_all(&mut self, requests: &[Vec<Vec<u8>>]) -> Vec<Frame> {
        let mut bytes = BytesMut::new();
        requests.iter().for_each(|request| encode::request(request, &mut bytes));
        self.stream.write_all(&bytes).unwrap();
        self.replies(requests.len())
    }

    fn replies(&mut self, wanted: usize) -> Vec<Frame> {
        let mut replies = Vec::with_capacity(wanted);
        let mut chunk = vec![0; 65_536];
        while replies.len() < wanted {
            match self.decoder.next(&mut self.received).expect("Redis answers in its own protocol") {
                Some(reply) => replies.push(reply),
                None => {
                    let count = self.stream.read(&mut chunk).unwrap();
                    assert!(count > 0, "Redis closed the connection after {} of {wanted} replies", replies.len());
                    self.received.extend_from_slice(&chunk[..count]);
                }
            }
        }
        replies
    }

    /// Sends bytes as they are and returns the first reply.
    pub(crate) fn ask_raw(&mut self, bytes: &[u8]) -> Frame {
        // Redis may have closed the connection before it read everything; what it said is still there.
        let _sent = self.stream.write_all(bytes);
        self.replies(1).remove(0)
    }

    pub(crate) fn ask(&mut self, line: &str) -> Frame {
        self.ask_all(&[line.split(' ').map(|word| word.as_bytes().to_vec()).collect()]).remove(0)
    }
}
