//! The Redis protocol without a socket: requests in, replies out, and everything that is known about commands before they run.
//!
//! [`Parser`] cuts bytes into requests, [`Request::parse`] gives them their meaning with the help of the command [`table`], and
//! [`encode`] turns a [`simplekv_types::Reply`] into bytes. [`session`] answers what concerns only a connection or the server as a whole, so
//! that a node and a router agree about it. What a command does to data is the business of `simplekv-commands`; who owns which slot
//! is nobody's business here.

pub mod clients;
pub mod command;
pub mod control;
mod cursor;
pub mod decode;
pub mod encode;
mod error;
pub mod facts;
mod failure;
pub mod glob;
pub mod info;
mod inline;
pub mod number;
mod parser;
mod reference;
mod route;
mod scatter;
pub mod session;
mod slow_log;
pub mod syntax;
pub mod table;
pub mod tracking;
pub mod views;

pub use clients::Clients;
pub use command::{Body, Command, Keys, Request, several_groups};
pub use control::Control;
pub use cursor::{SCAN_POSITION_BITS, ScanCursor};
pub use encode::Protocol;
pub use error::{ProtocolError, ReplyError};
pub use facts::Facts;
pub use failure::{TOO_MANY_CLIENTS, error_text};
pub use parser::{Args, Parser, RequestLimits};
pub use scatter::Scatter;
pub use session::{Answer, Collected, Session, Transaction};
pub use slow_log::{SlowLog, SlowRequest};
pub use table::plain;
