//! An ordered sequence that knows how many items stand before each.
//!
//! A B+ tree whose nodes count what is below them: an item is found by its place in the order as well as by its number, and put in
//! or taken out, in time that grows with the logarithm of the length. Nodes are shared between a tree and its clones, and copied when
//! one of them changes. So a clone costs nothing, whatever the length: who reads a long range keeps one while the tree goes on, and who
//! tries something out changes one and drops it.
//!
//! There is no order in the items themselves: each call brings the comparison it means, which must be the same one for the life of the
//! tree.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;

/// A leaf is split beyond this many items.
const LEAF_ITEMS: usize = 64;
/// An inner node is split beyond this many children.
const CHILDREN: usize = 32;

/// The last one of so many items in a row is looked at first.
const STRIDE: usize = 8;

/// The sequence.
#[derive(Clone, Debug)]
pub(crate) struct Tree<T> {
    root: Node<T>,
}

#[derive(Clone, Debug)]
enum Node<T> {
    Leaf(Arc<Vec<T>>),
    Inner(Arc<Vec<Child<T>>>),
}

/// A child of an inner node. Invariant: never empty; all children of a node are of one height.
#[derive(Clone, Debug)]
struct Child<T> {
    /// A copy of its first item.
    first: T,
    /// How many items are in it.
    len: usize,
    node: Node<T>,
}

/// What an insertion came to.
enum Inserted<T> {
    /// An equal item was there.
    Replaced(T),
    Added,
    /// The node was too full: this belongs behind it.
    Split(Child<T>),
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::Leaf(Arc::new(Vec::new())) }
    }
}

impl<T: Clone> Tree<T> {
    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.root.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item for which `compare` says that it is the one. `compare` tells how an item stands to what is sought.
    pub(crate) fn find(&self, compare: impl Fn(&T) -> Ordering) -> Option<&T> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return items.get(search(items, &compare).ok()?),
                Node::Inner(children) => node = &children.get(child_for(children, &compare))?.node,
            }
        }
    }

    /// Has the processor fetch what finding each of these will look at. One after the other each would wait for memory at every level;
    /// here all go down together, so that their waits overlap.
    pub(crate) fn touch<S>(&self, sought: &[S], compare: impl Fn(&S, &T) -> Ordering) {
        let mut nodes: SmallVec<[&Node<T>; 32]> = sought.iter().map(|_| &self.root).collect();
        let mut is_inner = true;
        // All leaves are of one depth.
        while std::mem::take(&mut is_inner) {
            for (node, sought) in nodes.iter_mut().zip(sought) {
                let compare = |item: &T| compare(sought, item);
                match node {
                    Node::Leaf(items) => drop(std::hint::black_box(search(items, &compare).is_ok())),
                    Node::Inner(children) => {
                        if let Some(child) = children.get(child_for(children, &compare)) {
                            *node = &child.node;
                            is_inner = true;
                        }
                    }
                }
            }
        }
    }

    /// How many items stand before what is sought, and whether it is there itself.
    pub(crate) fn rank(&self, compare: impl Fn(&T) -> Ordering) -> (usize, bool) {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => match search(items, &compare) {
                    Ok(at) => return (before + at, true),
                    Err(at) => return (before + at, false),
                },
                Node::Inner(children) => {
                    let at = child_for(children, &compare);
                    before += children.iter().take(at).map(|child| child.len).sum::<usize>();
                    node = &children.get(at).expect("a child was chosen").node;
                }
            }
        }
    }

    /// The item with this number, counted from 0.
    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        let (mut node, mut number) = (&self.root, number);
        loop {
            match node {
                Node::Leaf(items) => return items.get(number),
                Node::Inner(children) => {
                    let (child, within) = child_at(children, number)?;
                    (node, number) = (&child.node, within);
                }
            }
        }
    }

    /// Puts an item in, in the place of an equal one, which is returned. `make` is shown that one, if there is any.
    pub(crate) fn insert(&mut self, make: impl FnOnce(Option<&T>) -> T, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        match self.root.insert(make, &compare) {
            Inserted::Replaced(old) => Some(old),
            Inserted::Added => None,
            Inserted::Split(right) => {
                let left = std::mem::replace(&mut self.root, Node::Inner(Arc::new(Vec::new())));
                let left = Child::of(left).expect("a node that was split is not empty");
                self.root = Node::Inner(Arc::new(vec![left, right]));
                None
            }
        }
    }

    /// Takes the item out that is sought.
    pub(crate) fn remove(&mut self, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        // Looked for before anything is copied.
        self.find(&compare)?;
        let removed = self.root.remove(&compare);
        while let Node::Inner(children) = &self.root
            && let [only] = children.as_slice()
        {
            self.root = only.node.clone();
        }
        removed
    }

    /// Shows the items in order, from the one with this number on.
    pub(crate) fn walk<'a>(&'a self, from: usize, mut show: impl FnMut(&'a T) -> ControlFlow<()>) {
        let _ = self.root.walk(from, &mut show);
    }

    /// Shows the items before the one with this number, the last of them first.
    pub(crate) fn walk_back<'a>(&'a self, before: usize, mut show: impl FnMut(&'a T) -> ControlFlow<()>) {
        let _ = self.root.walk_back(before, &mut show);
    }

    /// Gives up about `budget` items at the end, shown to `drop`, so that a long tree need not be dropped at once. True if there are
    /// more.
    pub(crate) fn shed(&mut self, budget: usize, mut drop: impl FnMut(&T)) -> bool {
        let mut left = budget;
        while left > 0 && !self.is_empty() {
            left = left.saturating_sub(self.root.shed(&mut drop));
        }
        !self.is_empty()
    }
}

impl<T: Clone> Node<T> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(children) => children.iter().map(|child| child.len).sum(),
        }
    }

    /// Items or children.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(children) => children.len(),
        }
    }

    fn first(&self) -> Option<&T> {
        match self {
            Self::Leaf(items) => items.first(),
            Self::Inner(children) => children.first().map(|child| &child.first),
        }
    }

    fn insert(&mut self, make: impl FnOnce(Option<&T>) -> T, compare: &impl Fn(&T) -> Ordering) -> Inserted<T> {
        match self {
            Self::Leaf(items) => insert_into_leaf(Arc::make_mut(items), make, compare),
            Self::Inner(children) => insert_into_inner(Arc::make_mut(children), make, compare),
        }
    }

    /// The item is there.
    fn remove(&mut self, compare: &impl Fn(&T) -> Ordering) -> Option<T> {
        match self {
            Self::Leaf(items) => {
                let items = Arc::make_mut(items);
                let at = search(items, compare).ok()?;
                Some(items.remove(at))
            }
            Self::Inner(children) => {
                let children = Arc::make_mut(children);
                let at = child_for(children, compare);
                let child = children.get_mut(at)?;
                let removed = child.node.remove(compare);
                child.len -= usize::from(removed.is_some());
                match child.node.first() {
                    Some(first) => child.first.clone_from(first),
                    None => drop(children.remove(at)),
                }
                join_small(children, at);
                removed
            }
        }
    }

    fn walk<'a>(&'a self, from: usize, show: &mut impl FnMut(&'a T) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Self::Leaf(items) => items.iter().skip(from).try_for_each(show),
            Self::Inner(children) => {
                let mut from = from;
                for child in children.iter() {
                    if from >= child.len {
                        from -= child.len;
                        continue;
                    }
                    child.node.walk(from, show)?;
                    from = 0;
                }
                ControlFlow::Continue(())
            }
        }
    }

    fn walk_back<'a>(&'a self, before: usize, show: &mut impl FnMut(&'a T) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Self::Leaf(items) => items.iter().take(before).rev().try_for_each(show),
            Self::Inner(children) => {
                let mut begins = self.len();
                for child in children.iter().rev() {
                    begins -= child.len;
                    if before > begins {
                        child.node.walk_back(before - begins, show)?;
                    }
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// Gives up the last leaf. Returns how many items it had.
    fn shed(&mut self, drop: &mut impl FnMut(&T)) -> usize {
        match self {
            Self::Leaf(items) => {
                let items = std::mem::take(items);
                items.iter().for_each(drop);
                items.len()
            }
            Self::Inner(children) => {
                // What a clone shares is copied: one node for each level, and not their items.
                let own = Arc::make_mut(children);
                let Some(last) = own.last_mut() else { return 0 };
                let dropped = last.node.shed(drop);
                last.len = last.node.len();
                if last.len == 0 {
                    own.pop();
                }
                if own.is_empty() {
                    *self = Self::Leaf(Arc::default());
                }
                dropped
            }
        }
    }
}

impl<T: Clone> Child<T> {
    fn of(node: Node<T>) -> Option<Self> {
        Some(Self { first: node.first()?.clone(), len: node.len(), node })
    }
}

/// The child that holds what is sought, if any does: the last one that does not begin behind it.
fn child_for<T>(children: &[Child<T>], compare: &impl Fn(&T) -> Ordering) -> usize {
    partition_point(children, |child| compare(&child.first) != Ordering::Greater).saturating_sub(1)
}

/// Where what is sought is, or where it would be.
fn search<T>(items: &[T], compare: &impl Fn(&T) -> Ordering) -> Result<usize, usize> {
    let at = partition_point(items, |item| compare(item) == Ordering::Less);
    match items.get(at).map(compare) {
        Some(Ordering::Equal) => Ok(at),
        _ => Err(at),
    }
}

/// How many items stand before the first one that is not `before`.
///
/// A binary search waits for memory at every step, and a long collection is not in the processor's caches. Here the looks at one
/// stage do not depend on each other, so their waits overlap: there are two of them, whatever the length of a node.
fn partition_point<T>(items: &[T], before: impl Fn(&T) -> bool) -> usize {
    let (strides, _) = items.as_chunks::<STRIDE>();
    let from = STRIDE * strides.iter().map(|stride| usize::from(before(&stride[STRIDE - 1]))).sum::<usize>();
    from + items.iter().skip(from).take(STRIDE).map(|item| usize::from(before(item))).sum::<usize>()
}

/// The child that holds the item with this number, and its number in there.
fn child_at<T>(children: &[Child<T>], number: usize) -> Option<(&Child<T>, usize)> {
    let mut number = number;
    for child in children {
        match number.checked_sub(child.len) {
            None => return Some((child, number)),
            Some(rest) => number = rest,
        }
    }
    None
}

fn insert_into_leaf<T: Clone>(
    items: &mut Vec<T>,
    make: impl FnOnce(Option<&T>) -> T,
    compare: &impl Fn(&T) -> Ordering,
) -> Inserted<T> {
    let at = match search(items, compare) {
        Ok(at) => {
            let old = items.get_mut(at).expect("it was found there");
            let item = make(Some(old));
            return Inserted::Replaced(std::mem::replace(old, item));
        }
        Err(at) => at,
    };
    let item = make(None);
    if items.len() < LEAF_ITEMS {
        items.insert(at, item);
        return Inserted::Added;
    }
    // Whoever puts one item after the other at an end leaves full leaves behind.
    let middle = if at == 0 || at == items.len() { at } else { items.len() / 2 };
    let mut right = items.split_off(middle);
    match at.checked_sub(middle).filter(|_| at > 0) {
        Some(at) => right.insert(at, item),
        None => items.insert(at, item),
    }
    Inserted::Split(Child::of(Node::Leaf(Arc::new(right))).expect("both halves have an item"))
}

fn insert_into_inner<T: Clone>(
    children: &mut Vec<Child<T>>,
    make: impl FnOnce(Option<&T>) -> T,
    compare: &impl Fn(&T) -> Ordering,
) -> Inserted<T> {
    let at = child_for(children, compare);
    let child = children.get_mut(at).expect("an inner node has children");
    let becomes_first = compare(&child.first) == Ordering::Greater;
    let inserted = child.node.insert(make, compare);
    if becomes_first && let Some(first) = child.node.first() {
        child.first.clone_from(first);
    }
    match inserted {
        Inserted::Replaced(old) => return Inserted::Replaced(old),
        Inserted::Added => child.len += 1,
        Inserted::Split(right) => {
            child.len = child.len + 1 - right.len;
            children.insert(at + 1, right);
        }
    }
    if children.len() <= CHILDREN {
        return Inserted::Added;
    }
    let right = children.split_off(children.len() / 2);
    Inserted::Split(Child::of(Node::Inner(Arc::new(right))).expect("both halves have a child"))
}

/// Joins the child at `at`, if it has become narrow, with a neighbour that has room for it.
fn join_small<T: Clone>(children: &mut Vec<Child<T>>, at: usize) {
    let most = |node: &Node<T>| match node {
        Node::Leaf(_) => LEAF_ITEMS,
        Node::Inner(_) => CHILDREN,
    };
    let Some(child) = children.get(at) else { return };
    if child.node.width() >= most(&child.node) / 4 {
        return;
    }
    let fits = |left: usize| {
        let (Some(left), Some(right)) = (children.get(left), children.get(left + 1)) else { return false };
        left.node.width() + right.node.width() <= most(&left.node) * 3 / 4
    };
    let left = if fits(at) {
        at
    } else if at > 0 && fits(at - 1) {
        at - 1
    } else {
        return;
    };
    let right = children.remove(left + 1);
    let left = children.get_mut(left).expect("it stands before the other");
    left.len += right.len;
    match (&mut left.node, right.node) {
        (Node::Leaf(items), Node::Leaf(more)) => Arc::make_mut(items).extend(Arc::unwrap_or_clone(more)),
        (Node::Inner(children), Node::Inner(more)) => Arc::make_mut(children).extend(Arc::unwrap_or_clone(more)),
        _ => unreachable!("children of one node are of one height"),
    }
}

#[cfg(test)]
mod tests;
