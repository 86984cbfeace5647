//! Operations that travel together, as they stand in a frame.

use bytes::Bytes;
use simplekv_proto::{Manner, Op, RequestFrame, Words};
use simplekv_types::{ClientId, limits};
use smallvec::SmallVec;

use crate::inbox::{Courier, Delivery, Inbox, inbox};

/// Places of a parcel that its operations' numbers tell apart. No frame holds more.
const PLACES: u64 = limits::FRAME_OPS_MAX as u64;
/// The most bytes a frame takes without its operations.
const HEAD_BYTES: usize = 32;

/// Operations that are handed over together, travel in one frame and are executed in this order. Almost always one, or all that a
/// connection had to ask. What does not fit into one frame is held back.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// Whose writes these are.
    pub(crate) client: ClientId,
    number: u64,
    content: Content,
    courier: Courier,
}

/// Operations, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    bytes: Bytes,
    /// Where each ends.
    ends: SmallVec<[usize; 1]>,
}

/// A parcel that is being filled.
#[derive(Debug)]
pub(crate) struct Packing {
    number: u64,
    bytes: Vec<u8>,
    ends: SmallVec<[usize; 1]>,
}

impl Packing {
    /// `number` is the parcel's among all of the client's; `operations` and `bytes` are what will be in it, about.
    pub(crate) fn new(number: u64, operations: usize, bytes: usize) -> Self {
        Self { number, bytes: Vec::with_capacity(bytes), ends: SmallVec::with_capacity(operations) }
    }

    /// Adds an operation. Its place.
    pub(crate) fn push(&mut self, words: &[Bytes], manner: &Manner) -> usize {
        let place = self.ends.len();
        // Those beyond the last place of a frame do not leave under this number.
        let id = self.number * PLACES + place as u64 % PLACES;
        Op::write(id, words.iter().map(|word| &word[..]), manner, &mut self.bytes);
        self.ends.push(self.bytes.len());
        place
    }

    /// Closes the parcel. What stays with the sender: a copy of what is in it, and where the answers will be.
    pub(crate) fn seal(self, client: ClientId) -> (Parcel, Content, Inbox) {
        let (inbox, courier) = inbox(self.ends.len());
        let content = Content { bytes: self.bytes.into(), ends: self.ends };
        (Parcel { client, number: self.number, content: content.clone(), courier }, content, inbox)
    }
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of one operation.
    fn operation(&self, place: usize) -> Bytes {
        let begin = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(place).copied().unwrap_or(begin);
        self.bytes.slice(begin..end)
    }

    /// The words of an operation: slices of the parcel. For the few operations that have to be sent again, which is cheaper than to keep
    /// the words of all.
    pub(crate) fn words(&self, place: usize) -> Words {
        let mut frame = RequestFrame::default();
        frame.push(self.operation(place), 1);
        let operation = frame.ops().next().expect("one was put in");
        operation.expect("it was written here").args
    }
}

impl Parcel {
    /// Which parcel an operation belongs to, and its place in it.
    pub(crate) fn address(id: u64) -> (u64, usize) {
        (id / PLACES, (id % PLACES) as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.content.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.content.bytes.len()
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.courier.is_closed()
    }

    /// Tells that it was not sent.
    pub(crate) fn return_unsent(self, delivery: impl Fn() -> Delivery) {
        self.courier.bring_everywhere(delivery);
    }

    /// Room for operations in a frame of so many bytes.
    pub(crate) fn room(frame_bytes: usize) -> usize {
        frame_bytes.saturating_sub(HEAD_BYTES)
    }

    /// Puts what fits into a frame that has `room` for operations, and tells what does not. Its number and who brings the answers; `None`
    /// if none are to be brought.
    pub(crate) fn load(self, room: usize, frame: &mut RequestFrame, loaded: &mut usize) -> Option<(u64, Courier)> {
        let Self { number, content, courier, .. } = self;
        if !courier.depart() {
            return None;
        }
        let count = content.len();
        if frame.len() + count <= limits::FRAME_OPS_MAX && *loaded + content.bytes.len() <= room {
            *loaded += content.bytes.len();
            frame.push(content.bytes, count);
            return Some((number, courier));
        }
        let (mut is_full, mut unsent) = (false, Vec::new());
        for place in 0..count {
            let operation = content.operation(place);
            let size = operation.len();
            if size > room {
                unsent.push((place, Delivery::TooLarge { size, limit: room }));
                continue;
            }
            let is_last = frame.len() == limits::FRAME_OPS_MAX || place >= limits::FRAME_OPS_MAX;
            is_full |= is_last || *loaded + size > room;
            if is_full {
                unsent.push((place, Delivery::Held));
                continue;
            }
            *loaded += size;
            frame.push(operation, 1);
        }
        let is_done = courier.bring(unsent);
        (!is_done).then_some((number, courier))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use simplekv_types::ReadPolicy;

    use super::*;
    use crate::attempt::Outcome;

    const MANNER: Manner =
        Manner { read: ReadPolicy::Linearizable, dedupe: None, timeout_ms: 500, seen: None, group: None, tracker: 0 };

    fn parcel(lens: &[usize]) -> (Parcel, Content, Inbox) {
        let mut packing = Packing::new(3, lens.len(), 0);
        for &len in lens {
            packing.push(&[Bytes::from_static(b"ECHO"), Bytes::from(vec![b'x'; len])], &MANNER);
        }
        packing.seal(ClientId(7))
    }

    /// What of it was put into the frame, with the lengths of the words, and what was not.
    fn load(lens: &[usize], room: usize) -> (Vec<usize>, Vec<String>) {
        let (parcel, _, inbox) = parcel(lens);
        let mut frame = RequestFrame::default();
        let _courier = parcel.load(room, &mut frame, &mut 0);
        let sent = frame.ops().map(|op| op.unwrap()).inspect(|op| assert_eq!(Parcel::address(op.id).0, 3));
        let sent = sent.map(|op| op.args[1].len()).collect();
        let mut returned = inbox.empty();
        let unsent = (0..lens.len()).map(|place| match returned.take(place, None).outcome {
            Outcome::Held => "held".to_owned(),
            Outcome::TooLarge { .. } => "too large".to_owned(),
            Outcome::TimedOut { sent: true } => "sent".to_owned(),
            other => format!("{other:?}"),
        });
        (sent, unsent.collect())
    }

    #[test]
    fn what_does_not_fit_is_held_and_what_never_will_is_refused() {
        assert_eq!(load(&[10, 10], 1000), (vec![10, 10], vec!["sent".into(), "sent".into()]));
        let (sent, unsent) = load(&[300, 2000, 300, 300, 300], 1000);
        assert_eq!(sent, [300, 300, 300]);
        assert_eq!(unsent, ["sent", "too large", "sent", "sent", "held"]);
        let (sent, unsent) = load(&[1; limits::FRAME_OPS_MAX + 2], 1 << 20);
        assert_eq!((sent.len(), unsent[limits::FRAME_OPS_MAX].as_str()), (limits::FRAME_OPS_MAX, "held"));
    }

    #[test]
    fn words_are_read_again_as_they_were_put_in() {
        let (_, content, _inbox) = parcel(&[0, 5, 300]);
        for (place, len) in [0, 5, 300].into_iter().enumerate() {
            let words = content.words(place);
            assert_eq!((&words[0][..], words[1].len(), words.len()), (&b"ECHO"[..], len, 2));
        }
    }

    #[test]
    fn the_head_of_a_frame_takes_no_more_than_is_left_for_it() {
        let frame = RequestFrame::new(Bytes::from_static(&[255; 16]), u64::MAX);
        assert!(frame.encoded_len() <= HEAD_BYTES);
    }
}
