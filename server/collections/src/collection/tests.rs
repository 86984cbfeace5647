use simplekv_types::Lsn;

use super::*;
use crate::Place;

fn at(length: u32) -> At {
    At::Log(Place { segment: 1, offset: 128, length, lsn: Lsn(u64::from(length)) })
}

fn names(collection: &Collection) -> Vec<String> {
    let mut names = Vec::new();
    collection.walk(0, |element| {
        names.push(String::from_utf8_lossy(&element.name).into_owned());
        ControlFlow::Continue(())
    });
    names
}

fn members(collection: &Collection) -> Vec<(String, f64)> {
    let mut members = Vec::new();
    collection.walk_scores(0, |scored| {
        members.push((String::from_utf8_lossy(&scored.member).into_owned(), scored.score));
        ControlFlow::Continue(())
    });
    members
}

#[test]
fn bytes_are_those_of_what_is_there() {
    let mut hash = Collection::new(ValueType::Hash, 1);
    assert!(hash.insert(b"a", at(40), 0.0).is_none());
    assert!(hash.insert(b"b", at(50), 0.0).is_none());
    let old = hash.insert(b"a", at(60), 0.0).unwrap();
    assert_eq!((old.at, hash.bytes(), hash.len()), (at(40), 110, 2));
    hash.remove(b"b");
    assert!(hash.remove(b"b").is_none());
    assert_eq!((hash.bytes(), names(&hash)), (60, vec!["a".to_owned()]));
}

#[test]
fn a_sorted_set_stands_in_the_order_of_scores_and_then_of_members() {
    let mut zset = Collection::new(ValueType::Zset, 1);
    for (member, score) in [("c", 2.0), ("b", 1.0), ("a", 2.0), ("d", f64::INFINITY), ("e", f64::NEG_INFINITY)] {
        zset.insert(member.as_bytes(), at(1), score);
    }
    zset.insert(b"b", at(1), 2.0);
    let expected = [("e", f64::NEG_INFINITY), ("a", 2.0), ("b", 2.0), ("c", 2.0), ("d", f64::INFINITY)];
    assert_eq!(members(&zset), expected.map(|(member, score)| (member.to_owned(), score)));
    assert_eq!((zset.rank_of(2.0, b"b"), zset.rank_of(f64::INFINITY, b"d")), (2, 4));
    assert_eq!((zset.count_below(2.0, false), zset.count_below(2.0, true)), (1, 4));
    zset.remove(b"a");
    assert_eq!((zset.len(), zset.scored(1).map(|scored| &*scored.member)), (4, Some(b"b".as_slice())));
}

#[test]
fn scans_show_every_name_that_stays_whatever_comes_and_goes() {
    let mut set = Collection::new(ValueType::Set, 1);
    for number in 0..500_u32 {
        set.insert(&number.to_le_bytes(), at(1), 0.0);
    }
    let (mut cursor, mut seen, mut round) = (Some(0), Vec::new(), 0_u32);
    while let Some(from) = cursor {
        cursor = set.scan(from, 10, |element| seen.push(u32::from_le_bytes((*element.name).try_into().unwrap())));
        // Odd ones go, others come.
        set.remove(&(round * 2 + 1).to_le_bytes());
        set.insert(&(1000 + round).to_le_bytes(), at(1), 0.0);
        round += 1;
    }
    let mut stayed: Vec<u32> = seen.into_iter().filter(|number| number % 2 == 0 && *number < 500).collect();
    stayed.sort_unstable();
    assert!(stayed.into_iter().eq((0..500).step_by(2)), "each once");
}

#[test]
fn a_list_grows_at_its_ends_and_anywhere_between() {
    let mut list = Collection::new(ValueType::List, 1);
    let mut expected: Vec<u32> = Vec::new();
    // Always before the second element: the hardest place.
    for number in 0..2000_u32 {
        let place = [list.len(), 0, 1.min(list.len()), list.len() / 2][number as usize % 4];
        let label = list.label_before(place).unwrap_or_else(|| {
            let (from, labels) = list.spread(place);
            let moved: Vec<Element> =
                (from..from + labels.len()).map(|number| list.get(number).unwrap().clone()).collect();
            moved.iter().for_each(|element| drop(list.remove(&element.name)));
            moved.iter().zip(labels).for_each(|(element, label)| {
                list.insert(&label.to_bytes(), element.at.clone(), 0.0);
            });
            list.label_before(place).unwrap()
        });
        list.insert(&label.to_bytes(), at(number), 0.0);
        expected.insert(place, number);
    }
    let mut found = Vec::new();
    list.walk(0, |element| {
        if let At::Log(place) = &element.at {
            found.push(place.length);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(found, expected);
}
