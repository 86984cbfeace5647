//! Records into a batch: what the leader appends and everybody replicates.

use bytes::BytesMut;
use simplekv_types::limits::{BATCH_RECORDS_MAX, VALUE_BYTES_MAX};
use simplekv_types::{Batch, Epoch, GroupTime, Lineage, Lsn, Slot};

use crate::pending::Pending;
use crate::record::{Record, encode};
use crate::written::Written;

/// Most bytes of records in one batch. Far above [`simplekv_types::limits::BATCH_BYTES`], at which a batch is normally closed: it
/// only keeps one batch addressable within one segment.
pub const BATCH_BYTES_MAX: usize = 2 << 30;

/// How much room is set aside for batches at once: several small ones share an allocation.
const ROOM_BYTES: usize = 64 << 10;

/// Why a record cannot be put into the batch. The batch is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The key is longer than any key may be.
    #[error("key of {size} bytes exceeds the limit of {limit}")]
    KeyTooLarge {
        /// The key's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value, or whatever else is the record's body, is longer than allowed.
    #[error("value of {size} bytes exceeds the limit of {limit}")]
    ValueTooLarge {
        /// The value's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The batch holds as many records as a batch may hold.
    #[error("a batch of more than {limit} records")]
    TooManyRecords {
        /// The limit.
        limit: usize,
    },
    /// The batch would hold more bytes than a batch may hold.
    #[error("a batch of more than {limit} bytes")]
    TooManyBytes {
        /// The limit in bytes.
        limit: usize,
    },
}

/// What the writer decides before the first record: the header all replicas hold the same bytes of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchStart {
    /// The history the batch belongs to.
    pub lineage: Lineage,
    /// The leadership that writes it.
    pub epoch: Epoch,
    /// LSN of the first record.
    pub base: Lsn,
    /// Group time.
    pub time: GroupTime,
    /// Everything below is committed. At most `base`.
    pub high_watermark: Lsn,
}

/// Encodes records into one batch after another.
///
/// `start`, then records, then `finish`. Records between two calls of [`BatchBuilder::end_command`] take effect together on every
/// reader; a batch is taken over by a log as a whole in any case.
#[derive(Debug)]
pub struct BatchBuilder {
    start: BatchStart,
    buffer: BytesMut,
    count: u32,
    /// Whether the next record belongs to the same command as the one before it.
    within_command: bool,
    value_bytes_max: usize,
    written: Written,
}

/// A place in a batch under construction to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint {
    bytes: usize,
    count: u32,
    within_command: bool,
}

impl BatchBuilder {
    /// A builder that refuses values above `value_bytes_max`, and above [`VALUE_BYTES_MAX`] in any case.
    #[must_use]
    pub fn new(start: BatchStart, value_bytes_max: usize) -> Self {
        Self {
            start,
            buffer: BytesMut::with_capacity(ROOM_BYTES),
            count: 0,
            within_command: false,
            value_bytes_max: value_bytes_max.min(VALUE_BYTES_MAX),
            written: Written::default(),
        }
    }

    /// Begins the next batch. What was not finished is dropped.
    pub fn start(&mut self, start: BatchStart) {
        self.start = start;
        self.buffer.clear();
        self.count = 0;
        self.within_command = false;
        self.written.clear();
    }

    /// What the batch was started with.
    #[must_use]
    pub fn started(&self) -> BatchStart {
        self.start
    }

    /// Appends a record and returns the LSN it will have.
    ///
    /// # Errors
    /// [`EncodeError`]; the batch is as before.
    pub fn push(&mut self, record: &Record<'_>) -> Result<Lsn, EncodeError> {
        if self.count as usize >= BATCH_RECORDS_MAX {
            return Err(EncodeError::TooManyRecords { limit: BATCH_RECORDS_MAX });
        }
        if let Record::Put(put) = record
            && put.value.len() > self.value_bytes_max
        {
            return Err(EncodeError::ValueTooLarge { size: put.value.len(), limit: self.value_bytes_max });
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(ROOM_BYTES);
        }
        let lsn = self.next_lsn();
        let bytes = self.buffer.len();
        encode(record, lsn, self.within_command, &mut self.buffer)?;
        if self.buffer.len() > BATCH_BYTES_MAX {
            self.buffer.truncate(bytes);
            return Err(EncodeError::TooManyBytes { limit: BATCH_BYTES_MAX });
        }
        self.count += 1;
        self.within_command = true;
        Ok(lsn)
    }

    /// The next record begins another command: readers may see everything so far without it.
    pub fn end_command(&mut self) {
        self.within_command = false;
    }

    /// Where the batch stands, to be able to go back when a command fails half way.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { bytes: self.buffer.len(), count: self.count, within_command: self.within_command }
    }

    /// Drops every record pushed after the checkpoint, which is of this batch.
    pub fn roll_back(&mut self, to: Checkpoint) {
        assert!(to.count <= self.count && to.bytes <= self.buffer.len(), "a checkpoint of another batch");
        self.buffer.truncate(to.bytes);
        self.count = to.count;
        self.within_command = to.within_command;
        self.written.roll_back(to.bytes);
    }

    /// What the records so far make of a key: the newest value or its deletion, `None` if they do not touch it.
    #[must_use]
    pub fn get(&mut self, slot: Slot, key: &[u8]) -> Option<Pending> {
        self.written.get(&self.buffer, slot, key)
    }

    /// The records so far, encoded: [`crate::record::Records`] reads them.
    #[must_use]
    pub fn records(&self) -> &[u8] {
        &self.buffer
    }

    /// The LSN of the next record.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.start.base + u64::from(self.count)
    }

    /// How many records the batch holds.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes of records the batch holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is nothing to finish.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch; `None` if it would be empty. The next one needs a `start`.
    pub fn finish(&mut self) -> Option<Batch> {
        if self.count == 0 {
            return None;
        }
        let BatchStart { lineage, epoch, base, time, high_watermark } = self.start;
        let batch = Batch {
            lineage,
            epoch,
            base,
            count: self.count,
            time,
            high_watermark,
            records: self.buffer.split().freeze(),
        };
        self.count = 0;
        self.within_command = false;
        self.written.clear();
        Some(batch)
    }
}
