//! Arguments of the commands on transactions.

use simplekv_types::Failure;

use super::Control;
use crate::command::{Body, Words};

type Parsed = Result<Body, Failure>;

pub(crate) fn multi(_words: &mut Words<'_>) -> Parsed {
    Ok(Body::Control(Control::Multi))
}

pub(crate) fn exec(_words: &mut Words<'_>) -> Parsed {
    Ok(Body::Control(Control::Exec))
}

pub(crate) fn discard(_words: &mut Words<'_>) -> Parsed {
    Ok(Body::Control(Control::Discard))
}

pub(crate) fn watch(words: &mut Words<'_>) -> Parsed {
    Ok(Body::Control(Control::Watch { keys: words.rest().into_iter().collect() }))
}

pub(crate) fn unwatch(_words: &mut Words<'_>) -> Parsed {
    Ok(Body::Control(Control::Unwatch))
}
