//! Commands on numbers, which are strings that spell one.

use bytes::Bytes;
use simplekv_resp::number::parse_i64;
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::extended::{Extended, FloatError};
use crate::{Keyspace, visible_string};

pub(crate) fn incr_by(key: &Bytes, delta: i64, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let old = visible_string(key, keyspace, now)?;
    let number = match &old {
        None => 0,
        Some(entry) => {
            parse_i64(&entry.value).ok_or(Failure::command("ERR value is not an integer or out of range"))?
        }
    };
    let sum = number.checked_add(delta).ok_or(Failure::command("ERR increment or decrement would overflow"))?;
    let expire_at = old.and_then(|entry| entry.expire_at);
    keyspace.put(key, ValueType::String, Bytes::from(sum.to_string()), expire_at);
    Ok(Reply::Int(sum))
}

pub(crate) fn incr_by_float(
    key: &Bytes,
    increment: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let old = visible_string(key, keyspace, now)?;
    let number = old.as_ref().map_or(&b"0"[..], |entry| &entry.value);
    let sum = Extended::sum(number, increment).map_err(refusal)?;
    let text = Bytes::from(sum.to_string());
    let expire_at = old.and_then(|entry| entry.expire_at);
    keyspace.put(key, ValueType::String, text.clone(), expire_at);
    Ok(Reply::Bulk(text))
}

fn refusal(error: FloatError) -> Failure {
    match error {
        FloatError::NotANumber => Failure::command("ERR value is not a valid float"),
        FloatError::Infinite => Failure::command("ERR increment would produce NaN or Infinity"),
    }
}
