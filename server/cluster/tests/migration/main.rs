//! Slot moves between groups that fail: stories, and random schedules.

#[cfg(all(test, mutants))]
mod mutants;
#[cfg(test)]
mod random;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod world;
