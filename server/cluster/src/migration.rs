//! Moving slots between groups, as values.
//!
//! ```text
//!   source's leader                       metadata store                     target's leader
//!                                   PREPARE: move, slot map marked
//!                                                                     BEGIN    what was left of the slots is dead
//!   PIN     ◄──────────────────────────────────────────────────────── pull
//!   COPY     keys as found, and what is committed meanwhile ────────► CURSOR   staged, invisible
//!   FENCE    the slots are closed ──────────────────────────────────► READY    everything is here
//!                                   CUTOVER: move done, slots given ◄──────
//!                                   owned ◄────────────────────────── OWN      served from here on
//!   DROP ◄──────────────────────────
//!                                   forgotten by the controller
//! ```
//!
//! PIN, BEGIN, CURSOR, READY, OWN, FENCE, DROP, and after an ABORT of the move UNFENCE and ABORT, are [`Step`]s in the groups' logs.
//! Folded in their order they make a [`SlotTable`], of which every replica has the same. A step counts when it is committed. The only
//! moment at which slots change hands is the transaction CUTOVER: before it the source has everything and may be told to keep it, after
//! it the target has everything; neither ever decides by a clock.
//!
//! [`Moves`] drives a leader's side of all its group's moves, [`Mover`] the controller's jobs.

mod change;
mod effect;
mod knowledge;
mod mover;
mod moves;
mod ranges;
mod reconcile;
mod source;
mod states;
mod step;
mod stream;
mod table;
mod target;
mod timing;
mod turn;

pub use change::{MoveChange, MoveOutcome, MoveRecords, MoveRequest};
pub use effect::{Found, MoveAlarm, MoveEffect, MoveEvent, Sought};
pub use mover::{Mover, MoverEffect, MoverEvent};
pub use moves::Moves;
pub use states::{Contradiction, SlotState, Standing};
pub use step::{Cursor, Fence, Step, StepFields, StepKind};
pub use stream::{Content, Frame, Mark, MoveBody, MoveMessage, Moved, Place, Progress, Pull, PullId, Staged};
pub use table::{Export, Import, SlotTable, Slots};
pub use timing::{MoveTiming, MoverTiming};
pub use turn::Surroundings;
