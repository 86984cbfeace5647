use super::*;

/// Numbers that look random and are the same each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn put(tree: &mut Tree<u64>, item: u64) -> Option<u64> {
    tree.insert(|_| item, |other| other.cmp(&item))
}

fn take(tree: &mut Tree<u64>, item: u64) -> Option<u64> {
    tree.remove(|other| other.cmp(&item))
}

fn items(tree: &Tree<u64>) -> Vec<u64> {
    let mut items = Vec::new();
    tree.walk(0, |item| {
        items.push(*item);
        ControlFlow::Continue(())
    });
    items
}

/// Everything that is written at the fields holds. Returns the height.
fn check<T: Clone + PartialEq + std::fmt::Debug>(node: &Node<T>, is_root: bool) -> usize {
    match node {
        Node::Leaf(items) => {
            assert!(is_root || !items.is_empty());
            assert!(items.len() <= LEAF_ITEMS);
            0
        }
        Node::Inner(children) => {
            assert!((if is_root { 2 } else { 1 }..=CHILDREN).contains(&children.len()));
            let heights: Vec<usize> = children
                .iter()
                .map(|child| {
                    assert_eq!(Some(&child.first), child.node.first());
                    assert_eq!(child.len, child.node.len());
                    check(&child.node, false)
                })
                .collect();
            assert!(heights.windows(2).all(|pair| pair[0] == pair[1]), "{heights:?}");
            heights[0] + 1
        }
    }
}

#[test]
fn it_is_what_a_sorted_list_is() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let (mut tree, mut list) = (Tree::default(), Vec::<u64>::new());
        let range = [50, 1000, 20_000][seed as usize % 3];
        for step in 0..20_000 {
            let item = dice.below(range);
            let shrinks = (step / 4000) % 2 == 1;
            match (dice.below(10) < if shrinks { 3 } else { 7 }, list.binary_search(&item)) {
                (true, Ok(_)) => assert_eq!(put(&mut tree, item), Some(item)),
                (true, Err(at)) => {
                    list.insert(at, item);
                    assert_eq!(put(&mut tree, item), None);
                }
                (false, Ok(at)) => {
                    list.remove(at);
                    assert_eq!(take(&mut tree, item), Some(item));
                }
                (false, Err(_)) => assert_eq!(take(&mut tree, item), None),
            }
            if step % 500 == 0 {
                check(&tree.root, true);
                assert_eq!(items(&tree), list, "seed {seed}");
            }
            let sought = dice.below(range);
            let rank = match list.binary_search(&sought) {
                Ok(at) => (at, true),
                Err(at) => (at, false),
            };
            assert_eq!(tree.rank(|other| other.cmp(&sought)), rank);
            assert_eq!(tree.find(|other| other.cmp(&sought)).is_some(), rank.1);
            let number = dice.below(range) as usize;
            assert_eq!(tree.get(number), list.get(number));
        }
    }
}

#[test]
fn ranges_are_shown_from_any_place_in_either_direction() {
    let mut tree = Tree::default();
    for item in 0..5000 {
        put(&mut tree, item * 2);
    }
    for from in [0, 1, 63, 64, 65, 2500, 4999, 5000, 6000] {
        let mut shown = Vec::new();
        tree.walk(from, |item| {
            shown.push(*item);
            if shown.len() == 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(shown, (from as u64..5000).take(100).map(|n| n * 2).collect::<Vec<_>>());
        shown.clear();
        tree.walk_back(from, |item| {
            shown.push(*item);
            if shown.len() == 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(shown, (0..5000.min(from as u64)).rev().take(100).map(|n| n * 2).collect::<Vec<_>>());
    }
}

/// What a list does all day.
#[test]
fn ends_that_grow_leave_full_leaves_behind() {
    let leaves = |tree: &Tree<u64>| {
        fn count(node: &Node<u64>) -> usize {
            match node {
                Node::Leaf(_) => 1,
                Node::Inner(children) => children.iter().map(|child| count(&child.node)).sum(),
            }
        }
        count(&tree.root)
    };
    let (mut up, mut down) = (Tree::default(), Tree::default());
    for item in 0..64_000 {
        put(&mut up, item);
        put(&mut down, 64_000 - item);
    }
    assert_eq!((leaves(&up), leaves(&down)), (1000, 1000));
    assert_eq!(check(&up.root, true), check(&down.root, true));
    for item in 0..64_000 {
        assert_eq!(take(&mut up, item), Some(item));
    }
    assert!(up.is_empty());
    assert_eq!(check(&up.root, true), 0);
}

#[test]
fn a_clone_stays_as_it_was() {
    let mut dice = Dice(7);
    let mut tree = Tree::default();
    let mut kept: Vec<(Tree<u64>, Vec<u64>)> = Vec::new();
    for step in 0..10_000 {
        let item = dice.below(3000);
        if dice.below(2) == 0 {
            put(&mut tree, item)
        } else {
            take(&mut tree, item)
        };
        if step % 1000 == 0 {
            kept.push((tree.clone(), items(&tree)));
        }
    }
    for (clone, before) in kept {
        assert_eq!(items(&clone), before);
        check(&clone.root, true);
    }
}

#[test]
fn a_long_one_is_given_up_bit_by_bit() {
    let mut tree = Tree::default();
    for item in 0..10_000 {
        put(&mut tree, item);
    }
    let (shared, mut rounds) = (tree.clone(), 0);
    let mut dropped = Vec::new();
    while tree.shed(100, |item| dropped.push(*item)) {
        rounds += 1;
        assert!(tree.len() + rounds * 200 >= 10_000, "no more than about what was asked for");
    }
    assert!(tree.is_empty() && rounds > 50);
    dropped.sort_unstable();
    assert!(dropped.iter().copied().eq(0..10_000), "each was shown once");
    assert!(items(&shared).into_iter().eq(0..10_000), "a clone has them all");
}
