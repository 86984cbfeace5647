//! Members next to each other.

use std::ops::{ControlFlow, Range};

use simplekv_collections::Collection;
use simplekv_resp::command::{Interval, MemberBound, Selection};
use simplekv_types::Reply;

use crate::elements::numbers;

use super::{Member, bulk, member_of};

/// The numbers of the members of an interval, in the order of scores. `reverse`: in which order the interval counts ranks.
pub(super) fn span(zset: &Collection, interval: &Interval, reverse: bool) -> Range<usize> {
    match interval {
        Interval::Rank { first, last } => {
            let span = numbers(*first, *last, zset.len());
            if reverse { zset.len() - span.end..zset.len() - span.start } else { span }
        }
        Interval::Score { low, high } => {
            let start = zset.count_below(low.score.get(), low.excluded);
            start..zset.count_below(high.score.get(), !high.excluded).max(start)
        }
        Interval::Lex { low, high } => {
            let start = before(zset, low, true);
            start..before(zset, high, false).max(start)
        }
    }
}

/// How many members stand before an end of an interval: its lower one, or its higher one.
fn before(zset: &Collection, bound: &MemberBound, is_low: bool) -> usize {
    match bound {
        MemberBound::Least => 0,
        MemberBound::Greatest => zset.len(),
        MemberBound::At { member, excluded } => zset.count_before(member, *excluded == is_low),
    }
}

/// The members with these numbers.
pub(super) fn within(zset: &Collection, span: Range<usize>, reverse: bool) -> Vec<Member> {
    let count = span.len();
    let mut members = Vec::with_capacity(count);
    if count == 0 {
        return members;
    }
    let mut show = |scored| {
        members.push(member_of(scored));
        if members.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if reverse {
        zset.walk_scores_back(span.end, &mut show)
    } else {
        zset.walk_scores(span.start, &mut show)
    }
    members
}

/// The members a selection means.
pub(super) fn selected(zset: &Collection, selection: &Selection) -> Vec<Member> {
    let Selection { interval, reverse, offset, count } = selection;
    let Range { start, end } = span(zset, interval, *reverse);
    let Ok(skipped) = usize::try_from(*offset) else { return Vec::new() };
    let left = (end - start).saturating_sub(skipped);
    let count = usize::try_from(*count).unwrap_or(usize::MAX).min(left);
    if count == 0 {
        return Vec::new();
    }
    let span = if *reverse { end - skipped - count..end - skipped } else { start + skipped..start + skipped + count };
    within(zset, span, *reverse)
}

/// The answer that tells members.
pub(super) fn told(members: Vec<Member>, with_scores: bool) -> Reply {
    if with_scores {
        Reply::Pairs(members.into_iter().map(|(name, score)| (bulk(&name), Reply::Double(score))).collect())
    } else {
        Reply::Array(members.into_iter().map(|(name, _)| bulk(&name)).collect())
    }
}
