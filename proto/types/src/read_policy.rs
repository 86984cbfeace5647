//! Which replicas may answer a read, named by what the reader is promised.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A read's consistency. Chosen per request.
///
/// As text: `linearizable`, `leader`, `quorum`, `session`, `session=50ms` (how long a replica may wait for the token),
/// `bounded=100ms`, `any`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadPolicy {
    /// Never older than a write acknowledged before the read began. Any replica that holds a read lease may answer, else the leader.
    #[default]
    Linearizable,
    /// Linearizable, answered by the leader under its lease.
    Leader,
    /// Linearizable without trusting any clock: the leader answers after one round of acknowledgements.
    Quorum,
    /// Not older than the session token sent along. Any replica that has applied the token may answer.
    Session {
        /// How long a replica may wait to catch up with the token before the leader is asked.
        wait: Duration,
    },
    /// At most this far behind. Another replica, then the leader, answers otherwise.
    Bounded {
        /// Greatest age of the state the answer is read from.
        max_lag: Duration,
    },
    /// Whatever any live replica has committed. No promise of freshness.
    Any,
}

impl ReadPolicy {
    /// How long a replica waits to catch up with a session's token unless told otherwise.
    pub const SESSION_WAIT: Duration = Duration::from_millis(20);

    /// Not older than the session's token, with the usual wait.
    pub const SESSION: Self = Self::Session { wait: Self::SESSION_WAIT };

    /// Whether only the leader may answer.
    #[must_use]
    pub const fn is_leaders(self) -> bool {
        matches!(self, Self::Leader | Self::Quorum)
    }

    /// Whether an answer is never older than a write acknowledged before the read began.
    #[must_use]
    pub const fn is_linearizable(self) -> bool {
        matches!(self, Self::Linearizable | Self::Leader | Self::Quorum)
    }
}

/// Why a text is not a read policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePolicyError {
    /// There is no policy of this name.
    #[error("a read policy is linearizable, leader, quorum, session, bounded or any")]
    Name,
    /// It takes no time.
    #[error("only `session` and `bounded` take a time")]
    NoTime,
    /// `bounded` without a time, or with an impossible one.
    #[error("`bounded` needs a time of at least a millisecond, like `bounded=100ms`")]
    Bound,
    /// `session` with an impossible time.
    #[error("the time of `session` is like `session=50ms`")]
    Wait,
}

impl FromStr for ReadPolicy {
    type Err = ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, ParsePolicyError> {
        let (name, time) = text.split_once('=').map_or((text, None), |(name, time)| (name, Some(time)));
        let is = |word: &str| name.eq_ignore_ascii_case(word);
        if is("session") {
            let wait = time.map_or(Some(Self::SESSION_WAIT), duration).ok_or(ParsePolicyError::Wait)?;
            return Ok(Self::Session { wait });
        }
        if is("bounded") {
            let max_lag = time.and_then(duration).filter(|max_lag| !max_lag.is_zero());
            return Ok(Self::Bounded { max_lag: max_lag.ok_or(ParsePolicyError::Bound)? });
        }
        let plain = [("linearizable", Self::Linearizable), ("leader", Self::Leader), ("quorum", Self::Quorum)];
        let plain = plain.into_iter().chain([("any", Self::Any)]).find(|(word, _)| is(word));
        match (plain, time) {
            (Some((_, policy)), None) => Ok(policy),
            (Some(_), Some(_)) => Err(ParsePolicyError::NoTime),
            (None, _) => Err(ParsePolicyError::Name),
        }
    }
}

/// `100ms`, `2s`, or a plain number of milliseconds.
fn duration(text: &str) -> Option<Duration> {
    let (digits, millis) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => text.strip_suffix('s').map_or((text, 1), |digits| (digits, 1000)),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = is_number.then(|| digits.parse().ok())??;
    number.checked_mul(millis).map(|millis| Duration::from_millis(millis.into()))
}

impl fmt::Display for ReadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::Leader => f.write_str("leader"),
            Self::Quorum => f.write_str("quorum"),
            Self::SESSION => f.write_str("session"),
            Self::Session { wait } => write!(f, "session={}ms", wait.as_millis()),
            Self::Bounded { max_lag } => write!(f, "bounded={}ms", max_lag.as_millis()),
            Self::Any => f.write_str("any"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_printed() {
        let max_lag = Duration::from_millis(1500);
        for (policy, text) in [
            (ReadPolicy::Linearizable, "linearizable"),
            (ReadPolicy::Leader, "leader"),
            (ReadPolicy::Quorum, "quorum"),
            (ReadPolicy::SESSION, "session"),
            (ReadPolicy::Session { wait: Duration::ZERO }, "session=0ms"),
            (ReadPolicy::Bounded { max_lag }, "bounded=1500ms"),
            (ReadPolicy::Any, "any"),
        ] {
            assert_eq!((policy.to_string().as_str(), text.parse()), (text, Ok(policy)));
        }
        assert_eq!("BOUNDED=2s".parse(), Ok(ReadPolicy::Bounded { max_lag: Duration::from_secs(2) }));
        assert_eq!("bounded=1500".parse(), Ok(ReadPolicy::Bounded { max_lag }));
    }

    #[test]
    fn a_policy_nobody_knows_is_refused_with_what_is_wrong() {
        for (text, error) in [
            ("", ParsePolicyError::Name),
            ("maybe", ParsePolicyError::Name),
            ("any=1ms", ParsePolicyError::NoTime),
            ("bounded", ParsePolicyError::Bound),
            ("bounded=", ParsePolicyError::Bound),
            ("bounded=0ms", ParsePolicyError::Bound),
            ("bounded=-1", ParsePolicyError::Bound),
            ("bounded=1h", ParsePolicyError::Bound),
            ("bounded=99999999s", ParsePolicyError::Bound),
            ("session=soon", ParsePolicyError::Wait),
        ] {
            assert_eq!(text.parse::<ReadPolicy>(), Err(error), "{text}");
        }
    }
}
