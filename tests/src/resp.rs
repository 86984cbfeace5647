//! A Redis protocol connection that can be used as badly as one likes.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use simplekv_resp::decode::{Decoder, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take before it counts as never.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A connection with a pipeline.
#[derive(Debug)]
pub struct RespConnection {
    socket: TcpStream,
    requests: BytesMut,
    received: BytesMut,
    decoder: Decoder,
}

impl RespConnection {
    /// Connects to `server`.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open(server: &str) -> Result<Self> {
        let socket = TcpStream::connect(server).await.with_context(|| format!("connecting to {server}"))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, requests: BytesMut::new(), received: BytesMut::new(), decoder: Decoder::new() })
    }

    /// Adds a request to the pipeline.
    pub fn push(&mut self, args: &[&[u8]]) {
        self.requests.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in args {
            self.requests.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            self.requests.extend_from_slice(arg);
            self.requests.extend_from_slice(b"\r\n");
        }
    }

    /// Sends the pipeline.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send(&mut self) -> Result<()> {
        Ok(self.socket.write_all_buf(&mut self.requests).await?)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(bytes).await?)
    }

    /// Reads the next reply; `None` if the server has closed the connection instead.
    ///
    /// # Errors
    /// If the bytes are no reply, or there is none within half a minute.
    pub async fn receive(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(reply) = self.decoder.next(&mut self.received)? {
                return Ok(Some(reply));
            }
            let read = timeout(ANSWER_LIMIT, self.socket.read_buf(&mut self.received)).await;
            if read.context("no answer")?? == 0 {
                ensure!(self.received.is_empty(), "the server closed the connection within a reply");
                return Ok(None);
            }
        }
    }

    /// Sends the pipeline and reads as many replies.
    ///
    /// # Errors
    /// If the connection breaks before.
    pub async fn exchange(&mut self, count: usize) -> Result<Vec<Frame>> {
        self.send().await?;
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match self.receive().await? {
                Some(reply) => replies.push(reply),
                None => bail!("the server closed the connection"),
            }
        }
        Ok(replies)
    }

    /// One request, its words separated by spaces, and its reply.
    ///
    /// # Errors
    /// If the connection breaks before.
    pub async fn ask(&mut self, line: &str) -> Result<Frame> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.push(&args);
        self.send().await?;
        self.receive().await?.context("the server closed the connection")
    }
}
