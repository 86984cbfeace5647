//! Results of several operations, each to be taken where it was asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use simplekv_types::Reply;

use crate::error::{Error, Result};
use crate::request::Answer;
use crate::scatter::refused;

/// Numbers of the requests that places belong to.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Where the result of one operation of a [`Batch`](crate::Batch) or an [`Atomic`](crate::Atomic) will be: to be handed to
/// [`Results::take`].
#[derive(Debug)]
pub struct Place<T> {
    of: Number,
    at: usize,
    answer: Answer<T>,
}

/// Tells the places of one request from those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(u64);

impl Number {
    pub(crate) fn next() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn place<T>(self, at: usize, answer: Answer<T>) -> Place<T> {
        Place { of: self, at, answer }
    }
}

/// What became of the operations of a [`Batch`](crate::Batch) or an [`Atomic`](crate::Atomic).
#[derive(Debug)]
pub struct Results {
    of: Number,
    /// `None` once taken.
    results: Vec<Option<Result<Reply>>>,
}

impl Results {
    pub(crate) fn new(of: Number, results: impl IntoIterator<Item = Result<Reply>>) -> Self {
        Self { of, results: results.into_iter().map(|result| Some(result.and_then(refused))).collect() }
    }

    /// How many there are, taken ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// The operations that failed, by their numbers in the order they were added, without those taken.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &Error)> {
        let numbered = self.results.iter().enumerate();
        numbered.filter_map(|(at, result)| Some((at, result.as_ref()?.as_ref().err()?)))
    }

    /// The result of one operation.
    ///
    /// # Errors
    /// What the operation by itself would have failed with; [`Error::Config`] if the place belongs to another request.
    pub fn take<T>(&mut self, place: Place<T>) -> Result<T> {
        let mine = (place.of == self.of).then(|| self.results.get_mut(place.at)).flatten();
        let foreign = || Error::Config { field: "place", reason: "it belongs to another request".into() };
        let reply = mine.and_then(Option::take).ok_or_else(foreign)??;
        place.answer.read(&reply)
    }
}
