//! How many commands of a pipeline are executed together, so that their replies fit in memory.
//!
//! A pipeline of a few kilobytes may ask for gigabytes. Replies are made together and sent together, so what is executed together is
//! cut where its replies might exceed what a connection may hold. Where no large value is stored, nothing has to be looked up to
//! know that everything fits.

use simplekv_types::{Failure, Slot};

use crate::dispatch::Operation;
use crate::shared::{Shared, largest_value};

/// How many of the operations, from the first on, have replies of about `limit` bytes together at most. At least one.
pub(crate) fn fitting(shared: &Shared, operations: &[Result<Operation, Failure>], limit: usize) -> usize {
    let hosted = shared.all_hosted();
    let largest = hosted.iter().map(|hosted| hosted.published().largest()).max().unwrap_or(0);
    let understood = || operations.iter().flatten().map(|operation| &operation.command);
    let keys: usize = understood().map(|command| command.keys().count()).sum();
    let written: usize = understood().map(largest_value).sum();
    if keys.saturating_mul(largest.saturating_add(written)) <= limit {
        return operations.len();
    }
    let routing = shared.routing();
    let stored = |key: &[u8]| {
        let slot = Slot::of_key(key);
        let hosted = routing.owner(slot).and_then(|group| hosted.iter().find(|hosted| hosted.id() == group));
        hosted.and_then(|hosted| hosted.reader().guard().locate(slot, key)).map_or(0, |l| l.record_bytes() as usize)
    };
    let (mut total, mut written) = (0_usize, 0_usize);
    for (count, operation) in operations.iter().enumerate() {
        let Ok(Operation { command, .. }) = operation else { continue };
        written += largest_value(command);
        // What stands before a command in the pipeline may be what it reads.
        let reply: usize = command.keys().map(|key| stored(key).saturating_add(written)).sum();
        total = total.saturating_add(reply);
        if total > limit && count > 0 {
            return count;
        }
    }
    operations.len()
}
