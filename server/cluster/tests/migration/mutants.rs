//! Rules broken one by one: each must be noticed by a story or by a schedule. `make move-mutants`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use simplekv_types::mutants::{Rule, break_rule};

use crate::random::{Kind, run};
use crate::stories::STORIES;

/// Schedules of each kind that a rule is tried with, unless `SIMPLEKV_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 200;

/// Rules whose breaking nobody can notice here, with the reason.
const IMPLIED: [(Rule, &str); 3] = [
    (
        Rule::M5,
        "frames are taken in order and a source looks for one thing at a time: what is late is followed by what it missed",
    ),
    (Rule::M11, "what a slot held was cleared when it left, or when its import was given up"),
    (Rule::M36, "a leader of these groups knows at once of everything that was committed before it"),
];

#[test]
fn every_broken_rule_is_noticed() {
    let only = std::env::var("ONLY").ok();
    let is_chosen = |rule: &&Rule| {
        let named = |only: &String| only.split(',').any(|name| name.eq_ignore_ascii_case(rule.name()));
        only.as_ref().is_none_or(named)
    };
    std::panic::set_hook(Box::new(|_| ()));
    let (mut by_stories, mut by_schedules, mut survivors) = (0, 0, Vec::new());
    for rule in Rule::MOVES.iter().filter(is_chosen) {
        break_rule(Some(*rule));
        let story = STORIES.iter().find(|(_, tell)| catch_unwind(tell).is_err());
        let schedule = story.is_none().then(|| noticed_by_schedules()).flatten();
        break_rule(None);
        match (story, schedule) {
            (Some((name, _)), _) => {
                by_stories += 1;
                println!("{:<4} noticed by the story {name}", rule.name());
            }
            (None, Some((seed, why))) => {
                by_schedules += 1;
                println!("{:<4} noticed by seed {seed}: {}", rule.name(), why.lines().next().unwrap_or_default());
            }
            (None, None) if IMPLIED.iter().any(|(implied, _)| implied == rule) => {
                let reason = IMPLIED.iter().find(|(implied, _)| implied == rule).map_or("", |(_, reason)| reason);
                println!("{:<4} is implied: {reason}", rule.name());
            }
            (None, None) => {
                println!("{:<4} survived: {}", rule.name(), rule.sentence());
                survivors.push(rule.name());
            }
        }
    }
    println!(
        "noticed {}: {by_stories} by stories, {by_schedules} by schedules; survivors={survivors:?}",
        by_stories + by_schedules
    );
    assert!(survivors.is_empty(), "{survivors:?}");
}

fn noticed_by_schedules() -> Option<(u64, String)> {
    let schedules = std::env::var("SIMPLEKV_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES);
    let seeds = (0..schedules).flat_map(|n| [(1 + n, Kind::Whole), (2_000_000 + n, Kind::Histories)]);
    let mut seeds = seeds.into_iter();
    seeds.find_map(|(seed, kind)| {
        let panic = catch_unwind(AssertUnwindSafe(|| run(seed, kind))).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        Some((seed, text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()))
    })
}
