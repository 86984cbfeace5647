use bytes::BytesMut;

use super::*;

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn encoded(record: &Record<'_>, lsn: u64, continues: bool) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    encode(record, Lsn(lsn), continues, &mut bytes).unwrap();
    bytes.to_vec()
}

/// One record of every kind.
fn samples() -> Vec<Record<'static>> {
    let origin = Some(Origin { migration: MigrationId(7), lsn: Lsn(99) });
    let put = Put {
        slot: slot(0),
        key: b"key",
        value: b"value",
        value_type: ValueType::String,
        expire_at: None,
        origin: None,
    };
    let element = Element { slot: slot(16383), key: b"hash", incarnation: 5, name: b"field", origin };
    let mut records = vec![
        Record::Put(put),
        Record::Put(Put { value_type: ValueType::List, expire_at: Some(GroupTime(1)), origin, ..put }),
        Record::Delete { slot: slot(1), key: b"", origin: None },
        Record::ElementPut { element, value: b"v", value_type: ValueType::Hash, expire_at: Some(GroupTime(9)) },
        Record::ElementDelete(element),
        Record::EpochStart { epoch: Epoch(3) },
        Record::Tick,
        Record::Dedupe(DedupeRow {
            slot: slot(2),
            client: ClientId(1 << 100),
            seq: Seq(4),
            ack_below: Seq(2),
            deadline: GroupTime(60_000),
            result: b"+OK",
            origin: None,
        }),
        Record::Intent { slot: slot(3), key: b"k", body: b"opaque" },
    ];
    const RANGES: &[SlotRange] = &[SlotRange::ALL];
    for number in 16..=26 {
        records.push(Record::Slots(SlotChange {
            kind: SlotChangeKind::from_number(number).unwrap(),
            migration: MigrationId(8),
            source: Lsn(1000),
            revision: 55,
            slots: SlotRanges::Given(RANGES),
            details: b"counters",
            origin,
        }));
    }
    records
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    for (i, record) in samples().iter().enumerate() {
        let bytes = encoded(record, i as u64, i % 2 == 1);
        let decoded = Decoded::read(&bytes).unwrap();
        assert_eq!(
            decoded,
            Decoded { lsn: Lsn(i as u64), continues: i % 2 == 1, length: bytes.len(), record: record.clone() }
        );
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for record in samples() {
        let bytes = encoded(&record, 1, false);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Decoded::read(&damaged).is_err(), "bit {bit} of {record:?}");
        }
    }
}

#[test]
fn a_record_cut_anywhere_is_noticed() {
    for record in samples() {
        let bytes = encoded(&record, 1, false);
        for length in 0..bytes.len() {
            assert!(Decoded::read(&bytes[..length]).is_err(), "{length} bytes of {record:?}");
        }
    }
}

#[test]
fn a_record_with_any_byte_changed_and_a_matching_checksum_is_read_or_refused() {
    for record in samples() {
        let bytes = encoded(&record, 1, false);
        for (at, change) in (4..bytes.len()).flat_map(|at| [0, 1, 0x7f, 0x80, 0xff].map(|change| (at, change))) {
            let mut changed = bytes.clone();
            changed[at] = change;
            let checksum = crate::checksum::crc32c(&changed[4..]);
            changed[..4].copy_from_slice(&checksum.to_le_bytes());
            // Whatever comes out can be written again as it is.
            let Ok(decoded) = Decoded::read(&changed) else { continue };
            assert_eq!(encoded(&decoded.record, decoded.lsn.0, decoded.continues), changed, "byte {at} of {record:?}");
        }
    }
}

/// The bytes stand in FORMAT.md. They may be added to, never changed.
#[test]
fn golden_bytes() {
    let put = Record::Put(Put {
        slot: slot(12_182),
        key: b"foo",
        value: b"bar",
        value_type: ValueType::String,
        expire_at: Some(GroupTime(0x0102)),
        origin: None,
    });
    let bytes = encoded(&put, 0x0a0b, false);
    let expected: &[u8] = &[
        0x83, 0xc7, 0x0d, 0xf6, 38, 0, 0, 0, 0x0b, 0x0a, 0, 0, 0, 0, 0, 0, 1, 2, 0x96, 0x2f, 0, 0, 3, 0, // header
        2, 1, 0, 0, 0, 0, 0, 0, // expires
        b'f', b'o', b'o', b'b', b'a', b'r',
    ];
    assert_eq!(bytes, expected, "{bytes:02x?}");
}
