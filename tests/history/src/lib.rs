//! Histories of operations on keys: written down, read back, and judged.
//!
//! A history says what each client asked for, what it was told, and when. [`check`] looks for an order of the operations that explains
//! every answer and contradicts no clock: if there is none, the store has broken its promise, whatever happened inside. It knows
//! nothing of replicas, leaders or leases, and that is its worth.
//!
//! ```
//! use simplekv_history::{Action, Answer, Operation, check};
//!
//! let history = [
//!     Operation::new(1, "k", Action::Set("a".into()), 0).answered(Answer::Done, 10),
//!     Operation::new(2, "k", Action::Get, 20).answered(Answer::Value(None), 30),
//! ];
//! let verdict = check(&history);
//! assert!(!verdict.is_clean());
//! println!("{verdict}");
//! ```
//!
//! Three outcomes are told apart, and the difference is the caller's to know: *answered*, *failed* (certainly never done), and *unknown*
//! (may be done at any time after it began, or never). Whoever calls an unknown write failed will be told of violations that are none.
//!
//! What is checked, per key:
//!
//! - reads answer only what some write has written, none that failed and none that begins later ([`Kind::NeverWritten`] and its
//!   neighbours);
//! - a counter counts every acknowledged increment once ([`Kind::CountedTwice`], [`Kind::Uncounted`]);
//! - there is an order in which every answer is right, and which keeps real time ([`Kind::Linearizability`]);
//! - reads that promise less are held to what they promise ([`Kind::Session`], [`Kind::Bounded`], [`Kind::Uncommitted`]).
//!
//! Expiry is not modelled: a history is about keys that never expire.

mod check;
mod count;
mod doubts;
mod explain;
mod file;
mod line;
mod operation;
mod plan;
mod provenance;
mod search;
mod sessions;
mod values;
mod verdict;

pub use check::{Checker, check};
pub use file::{ReadError, Writer, read};
pub use line::LineError;
pub use operation::{Action, Answer, Operation, Outcome, Policy, Text};
pub use verdict::{Kind, Verdict, Violation};
