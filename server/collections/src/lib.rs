//! What a key with elements holds, in order: hashes, lists, sets and sorted sets.
//!
//! A [`Collection`] is an index. It knows every element's name and where the record is that holds its value; for what has not been
//! written yet it holds the value itself. Whatever is asked about an element or a rank takes time that grows with the logarithm of the
//! length. Clones cost nothing and stay as they are: a reader keeps one while the original goes on, and whoever evaluates a command
//! changes one and may drop it.
//!
//! The order is that of scans for hashes, sets and sorted sets, by [`position_of`] and name; that of [`Label`]s for lists. A sorted set
//! has a second one, by score and name.

mod collection;
mod element;
mod label;
mod position;
mod tree;

pub use collection::{Collection, Scored};
pub use element::{At, Element, Place, score_in, score_value};
pub use label::Label;
pub use position::{POSITION_BITS, position_of};
