//! The bytes on disk, as FORMAT.md has them. They may be added to, never changed.

use simplekv_engine::fs::MemFs;
use simplekv_types::{Batch, Epoch, Lineage};

use crate::support::{batch, next, open, path, put};

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn golden_segment() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let first = Batch { epoch: Epoch(0x21), lineage: Lineage(0x11), ..batch(next(&engine), &[put("foo", "bar")]) };
    engine.append(&[first]).unwrap();
    engine.apply_to(engine.log_end(), &mut |_| ());
    engine.flusher().flush().unwrap();
    engine.record_flush().unwrap();
    let end = usize::try_from(engine.segment_stats()[0].bytes).unwrap();
    let content = fs.content(&path("000001.log")).unwrap();
    assert_eq!(hex(&content[..end]), SEGMENT.trim(), "\n{}", hex(&content[..end]));
}

const SEGMENT: &str = "
73 6b 76 6c 6f 67 0d 0a 01 00 00 00 00 00 00 00
01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 93 e9 52 7c
6b 76 04 00 30 00 00 00 00 00 00 00 8c d3 61 b3
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
6b 76 01 00 4e 00 00 00 8c d3 61 b3 44 2e 8b 17
11 00 00 00 00 00 00 00 21 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 e8 03 00 00 00 00 00 00
00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00
94 6b d2 db 1e 00 00 00 00 00 00 00 00 00 00 00
01 00 96 2f 00 00 03 00 66 6f 6f 62 61 72 00 00
6b 76 02 00 18 00 00 00 44 2e 8b 17 fc cd d9 45
01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00
20 01 00 00 00 00 00 00
";

#[test]
fn golden_state_files() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    engine.persist_epoch(Epoch(4), Lineage(1)).unwrap();
    let text = |name| String::from_utf8(fs.content(&path(name)).unwrap()).unwrap();
    assert_eq!(text("META"), META);
    assert_eq!(text("MANIFEST"), MANIFEST);
}

const META: &str = "simplekv replica 1
cluster 00000000000000000000000000000001
group g2
storage 00000000000000000000000000000003
epoch 4
lineage 1
crc32c 63bbd3ee
";

const MANIFEST: &str = "simplekv manifest 1
next 2
log 1
crc32c 68944ccb
";
