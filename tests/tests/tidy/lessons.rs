//! Defects that an earlier replicated store of this kind shipped with, each with the tests that would find it here.
//!
//! A test says whose defect it looks for: its comment contains the number and a colon.
//!
//! | | defect | here |
//! |---|---|---|
//! | G1 | the value cache never answers, and counts hits all the same | there is no value cache yet |
//! | G2 | the value cache evicts what was inserted last, and a deletion beside a read crashes it | there is no value cache yet |
//! | G3 | the leader's log end is never set: nothing commits by it, nobody is found lagging | stories C63, C70 of `cluster` |
//! | G4 | a write that timed out is answered OK | whole-system test with stopped followers; mock-cluster tests of the client |
//! | G5 | too few replicas are noticed after the append: a refused write appears later | story C37; whole-system test with a failover |
//! | G6 | an expiry outlives the value it was set for | `engine` and `commands` |
//! | G7 | nothing is ever flushed | `engine`: a stop at any point; blackout of all processes |
//! | G8 | what is too large is accepted and then unreadable | `engine` |
//! | G9 | logs are cut only at a start, by epochs only leaders know | stories C23, C24, C25, C29 of `cluster` |
//! | G10 | truncation removes the file it keeps | `engine` |
//! | G11 | metadata is overwritten without comparing; leadership is a remembered word | story C1, records of `meta`, the paused leader |
//! | G12 | followers apply what is not committed; readers change what they read | `engine` |
//! | G13 | tests that cannot be built or are known to fail lie about | no ignored test without its reason |

use crate::tree::{files, has_extension, read};

const DEFECTS: std::ops::RangeInclusive<u32> = 1..=13;
/// What they are about does not exist yet.
const DOES_NOT_APPLY: [u32; 2] = [1, 2];

#[test]
fn every_known_defect_that_applies_has_a_test_that_names_it() {
    let texts: Vec<String> = files().iter().filter(|path| is_test(path)).map(|path| read(path)).collect();
    let is_named = |number: u32| {
        let name = format!("G{number}:");
        let comments =
            texts.iter().flat_map(|text| text.lines()).filter(|line| line.trim_start().starts_with(['/', '#']));
        comments.into_iter().any(|line| line.contains(&name))
    };
    let missing = DEFECTS.filter(|number| !DOES_NOT_APPLY.contains(number) && !is_named(*number));
    crate::assert_none("a test for each", &missing.map(|number| format!("G{number}")).collect::<Vec<_>>());
}

fn is_test(path: &str) -> bool {
    let is_source = has_extension(path, "rs") || has_extension(path, "txt");
    is_source && (path.contains("tests") && !path.ends_with("/lessons.rs"))
}
