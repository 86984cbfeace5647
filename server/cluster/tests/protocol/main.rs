//! The protocol in whole groups: stories told in text files, and random schedules.

#[cfg(test)]
mod harness;
#[cfg(test)]
mod random;
#[cfg(test)]
mod scenarios;
