//! The protocol of simplekv, as values: replication, failover, leases, moving slots, and what makes a retried write happen once.
//!
//! Nothing here knows a clock, a socket, a file, a lock, a task or chance. Time enters as an argument, everything else as an
//! [`Event`]; what is to be done leaves as an [`Effect`]. The server, the simulator and the tests of this crate drive the same code.
//!
//! ```text
//!              ┌───────────────────────── driver ─────────────────────────┐
//!   messages,  │  now = clock()          (after the event was taken)      │
//!   flushes, ──┼─► replica.step(now, event)                               │
//!   metadata,  │     while let Some(effect) = replica.next_effect()       │
//!   ticks      │         execute it, in this order                        │
//!              │     publish replica.serving()                            │
//!              │     sleep until the next event or replica.next_deadline()│
//!              └──────────────────────────────────────────────────────────┘
//! ```
//!
//! What the driver owes:
//!
//! - `now` is read from a clock that never stops and never falls, **after** the event was taken from its queue. A reading older than
//!   the arrival of a message would date an acknowledgement before the append it answers, and with it the end of a lease.
//! - All effects are taken and executed, in order, before the next `step` or `admit`. [`Effect::Append`], [`Effect::Truncate`] and
//!   [`Effect::Apply`] are done when the next effect is taken; all others are only started. If one of the first three fails, the
//!   rest of the effects is dropped and [`Event::StorageFailed`] is stepped.
//! - [`Replica::serving`] is published after all effects, and at once on [`Effect::WithdrawLeases`]. What it permits may be used by
//!   any thread that reads the clock *after* it has read the data.
//! - Answers to writes are given when their batch is applied. When the role changes first, the outcome is unknown.

mod config;
mod controller;
mod dedupe;
mod effect;
mod event;
mod failover;
mod founding;
mod group_clock;
mod identity;
mod invariants;
mod lease;
pub mod migration;
mod ownership;
mod recovery;
mod replica;
mod serving;

pub use config::{Config, Recovered, Timing, Window};
pub use controller::{Controller, ControllerEffect, ControllerEvent};
pub use dedupe::{Dedupe, DedupeRecord, DedupeResult, DedupeRow, Verdict};
pub use effect::{Alarm, Appending, Effect, GroupChange, MetadataRequest, Role, TransferOutcome};
pub use event::{BatchHeader, Event, MetadataOutcome, NodeFacts, RequestId};
pub use identity::{Decision, DiskIdentity, RenewReason, StartFacts, has_ended, resume_or_renew};
pub use ownership::{OwnershipView, SlotStanding, standing};
pub use recovery::{Fate, Obstacle, Recovery, Remains, Traces, Wish, candidates, fates, recover, recover_longest};
pub use replica::{FollowerStatus, HaltCause, Replica, Status};
pub use serving::{Admission, Refusal, Serving};
