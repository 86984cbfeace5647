//! How many commands of a pipeline are executed together, so that their replies fit in memory.
//!
//! A pipeline of a few kilobytes may ask for gigabytes. Replies are made together and sent together, so what is executed together is
//! cut where its replies might exceed what a connection may hold. Where no large value is stored, nothing has to be looked up to
//! know that everything fits.

use bytes::Bytes;
use simplekv_resp::Command;
use simplekv_resp::command::{
    BitFieldStep, GeoCommand, HashCommand, HyperLogLogCommand, ListCommand, Set, SetOfCommand, Sort, ZsetCommand,
};
use simplekv_types::{Failure, Slot};

use crate::dispatch::Operation;
use crate::shared::{Shared, largest_value};

/// How many of the operations, from the first on, have replies of about `limit` bytes together at most. At least one.
pub(crate) fn fitting(shared: &Shared, operations: &[Result<Operation, Failure>], limit: usize) -> usize {
    let hosted = shared.all_hosted();
    let longest = hosted.iter().map(|hosted| hosted.reader().longest_record() as usize).max().unwrap_or(0);
    let commands = || operations.iter().map(|operation| operation.as_ref().ok().map(|operation| &operation.command));
    let tells_all = commands().flatten().flat_map(parts).any(tells_all_elements);
    if !tells_all && fits(commands(), longest, limit) {
        return operations.len();
    }
    let routing = shared.routing();
    let stored = |key: &[u8]| {
        let slot = Slot::of_key(key);
        let hosted = routing.owner(slot).and_then(|group| hosted.iter().find(|hosted| hosted.id() == group));
        hosted
            .and_then(|hosted| hosted.reader().guard().locate(slot, key))
            .map_or(0, |located| usize::try_from(located.record_bytes()).unwrap_or(usize::MAX))
    };
    fitting_of(commands(), stored, limit)
}

/// Whether all replies fit if every value is as long as the longest can be. `None` is a command that was not understood.
fn fits<'a>(commands: impl Iterator<Item = Option<&'a Command>>, longest: usize, limit: usize) -> bool {
    let (mut values, mut written) = (0_usize, 0_usize);
    for command in commands.flatten().flat_map(parts) {
        values += told(command).count();
        written = written.saturating_add(longest_made(command));
    }
    values.saturating_mul(longest.saturating_add(written)) <= limit
}

/// How many of the commands fit, given how long the record of each key is now.
fn fitting_of<'a>(
    commands: impl Iterator<Item = Option<&'a Command>>,
    stored: impl Fn(&[u8]) -> usize,
    limit: usize,
) -> usize {
    let (mut count, mut total, mut written) = (0, 0_usize, 0_usize);
    for command in commands {
        for command in command.into_iter().flat_map(parts) {
            // What stands before a command in the pipeline may be what it reads.
            let known = told(command).map(|key| stored(key).saturating_add(written)).fold(0, usize::saturating_add);
            let reply = if tells_unnamed_keys(command) { usize::MAX } else { known };
            total = total.saturating_add(reply);
            if total > limit && count > 0 {
                return count;
            }
            let moved =
                if moves(command) { command.keys().map(|key| stored(key)).fold(0, usize::saturating_add) } else { 0 };
            written = written.saturating_add(longest_made(command)).saturating_add(moved);
        }
        count += 1;
    }
    count
}

/// The commands a command is made of: mostly itself.
fn parts(command: &Command) -> &[Command] {
    match command {
        Command::Atomic(atomic) => &atomic.commands,
        Command::Blocking(blocking) => std::slice::from_ref(&*blocking.attempt),
        command => std::slice::from_ref(command),
    }
}

/// The keys whose values are in a command's reply, each as often as it may be there.
fn told(command: &Command) -> impl Iterator<Item = &[u8]> {
    let (keys, times) = match command {
        Command::Get { .. }
        | Command::GetDel { .. }
        | Command::GetEx { .. }
        | Command::GetRange { .. }
        | Command::MGet { .. }
        | Command::Set(Set { get: true, .. }) => (usize::MAX, 1),
        Command::Hash { ask: HashCommand::Get { .. }, .. } => (1, 1),
        Command::Hash { ask: HashCommand::MGet { fields }, .. } => (1, fields.len()),
        Command::List {
            ask: ListCommand::Index { .. } | ListCommand::Pop { count: None, .. } | ListCommand::Move { .. },
            ..
        } => (1, 1),
        Command::Sort(Sort { gets, store: None, .. }) => (1, gets.len().max(1)),
        command if tells_all_elements(command) => (usize::MAX, 1),
        _ => (0, 1),
    };
    command.keys().take(keys).flat_map(move |key| std::iter::repeat_n(&**key, times))
}

/// Whether the reply may hold all elements of a key, which are longer together than the longest record.
fn tells_all_elements(command: &Command) -> bool {
    match command {
        Command::Hash { ask, .. } => matches!(
            ask,
            HashCommand::GetAll
                | HashCommand::Keys
                | HashCommand::Vals
                | HashCommand::Scan(_)
                | HashCommand::RandField { count: Some(_), .. }
        ),
        Command::List { ask, .. } => {
            matches!(
                ask,
                ListCommand::Range { .. } | ListCommand::Pop { count: Some(_), .. } | ListCommand::MPop { .. }
            )
        }
        Command::SetOf { ask, .. } => matches!(
            ask,
            SetOfCommand::Members
                | SetOfCommand::RandMember { .. }
                | SetOfCommand::Scan(_)
                | SetOfCommand::Combine { .. }
                | SetOfCommand::Pop { .. }
        ),
        Command::Zset { ask, .. } => matches!(
            ask,
            ZsetCommand::Range { .. }
                | ZsetCommand::RandMember { .. }
                | ZsetCommand::Scan(_)
                | ZsetCommand::Combined { .. }
                | ZsetCommand::Pop { .. }
                | ZsetCommand::MPop { .. }
        ),
        Command::Geo { ask, .. } => matches!(ask, GeoCommand::Search { .. }),
        Command::Sort(sort) => sort.store.is_none(),
        _ => false,
    }
}

/// Whether the reply may hold values of keys that the command does not name, of which nobody knows how long they are.
fn tells_unnamed_keys(command: &Command) -> bool {
    matches!(command, Command::Sort(sort) if sort.store.is_none() && sort.tells_others())
}

/// Whether what some of its keys hold may be what another of them holds afterwards.
fn moves(command: &Command) -> bool {
    matches!(
        command,
        Command::Rename { .. }
            | Command::Copy { .. }
            | Command::List { ask: ListCommand::Move { .. }, .. }
            | Command::SetOf { ask: SetOfCommand::Store { .. } | SetOfCommand::Move { .. }, .. }
            | Command::Zset { ask: ZsetCommand::Store { .. } | ZsetCommand::RangeStore { .. }, .. }
            | Command::Geo { ask: GeoCommand::SearchStore { .. } | GeoCommand::RadiusStore { .. }, .. }
            | Command::Sort(Sort { store: Some(_), .. })
    )
}

/// Longest value of a HyperLogLog: 2^14 registers of 6 bits, and what stands before them.
const HYPERLOGLOG_BYTES_MAX: usize = 16 + (6 << 14) / 8;

/// How much longer than all that is stored the command can make a value, or all elements of a key together.
fn longest_made(command: &Command) -> usize {
    let all = |words: &mut dyn Iterator<Item = &Bytes>| words.map(Bytes::len).fold(0, usize::saturating_add);
    match command {
        Command::Hash { ask: HashCommand::Set { pairs, .. }, .. } => {
            all(&mut pairs.iter().flat_map(|(field, value)| [field, value]))
        }
        Command::List { ask: ListCommand::Push { elements, .. }, .. } => all(&mut elements.iter()),
        Command::SetOf { ask: SetOfCommand::Add { members }, .. } => all(&mut members.iter()),
        Command::Zset { ask: ZsetCommand::Add { pairs, .. }, .. } => all(&mut pairs.iter().map(|(_, member)| member)),
        Command::Geo { ask: GeoCommand::Add { places, .. }, .. } => all(&mut places.iter().map(|(_, member)| member)),
        Command::HyperLogLog { ask: HyperLogLogCommand::Add { .. } | HyperLogLogCommand::Merge { .. }, .. } => {
            HYPERLOGLOG_BYTES_MAX
        }
        // What is told of an element may be of any length, and told as often as it likes.
        Command::Sort(Sort { gets, store: Some(_), .. }) if !gets.is_empty() => usize::MAX,
        // It fills up what lies before.
        Command::SetRange { offset, value, .. } => {
            value.len().saturating_add(usize::try_from(*offset).unwrap_or(usize::MAX))
        }
        Command::SetBit { offset, .. } => usize::try_from(offset / 8 + 1).unwrap_or(usize::MAX),
        Command::BitField { steps, .. } => {
            let end = |step: &BitFieldStep| match step {
                BitFieldStep::Get(_) => 0,
                BitFieldStep::Set(place, ..) | BitFieldStep::IncrBy(place, ..) => place.offset / 8 + 9,
            };
            steps.iter().map(end).max().map_or(0, |end| usize::try_from(end).unwrap_or(usize::MAX))
        }
        _ => largest_value(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn commands(lines: &[&str]) -> Vec<Option<Command>> {
        let command = |line: &&str| {
            let args = line.split(' ').map(|word| bytes::Bytes::copy_from_slice(word.as_bytes())).collect();
            match simplekv_resp::Request::parse(args).map(|request| request.body) {
                Ok(simplekv_resp::Body::Data(command)) => Some(command),
                _ => None,
            }
        };
        lines.iter().map(command).collect()
    }

    /// Keys are as long as the number they end in.
    fn fitting(lines: &[&str]) -> usize {
        let stored = |key: &[u8]| {
            let digits = key.iter().position(u8::is_ascii_digit).map_or(&[][..], |first| &key[first..]);
            std::str::from_utf8(digits).unwrap().parse().unwrap_or(0)
        };
        fitting_of(commands(lines).iter().map(Option::as_ref), stored, LIMIT)
    }

    #[test]
    fn a_pipeline_is_cut_before_its_replies_exceed_the_limit() {
        assert_eq!(fitting(&["GET a400", "GET b600", "GET c1"]), 2);
        assert_eq!(fitting(&["MGET a400 b400 c400", "GET d1"]), 1, "one command cannot be cut");
        assert_eq!(fitting(&["GET a400", "NONSENSE", "GET b600"]), 3);
        assert_eq!(fitting(&[]), 0);
    }

    /// Whatever is stored: what is only written does not come back.
    #[test]
    fn replies_without_values_are_not_counted() {
        let writes = ["SET a900 v", "DEL b900 c900", "EXPIRE d900 10", "STRLEN e900", "RENAME f900 g"];
        assert_eq!(fitting(&writes), writes.len());
        assert!(fits(commands(&writes).iter().map(Option::as_ref), 1 << 30, LIMIT));
        assert_eq!(fitting(&["SET a900 v GET", "SET b900 v GET"]), 1);
    }

    #[test]
    fn what_stands_before_a_read_may_be_what_it_reads() {
        let long = "v".repeat(900);
        assert_eq!(fitting(&[&format!("SET a {long}"), "GET a", "GET a"]), 2);
        assert_eq!(fitting(&["SETRANGE a 5000 x", "GET b", "GET a"]), 1, "the gap is filled up");
        assert_eq!(fitting(&["PFADD a x", "PFCOUNT a", "GET a", "GET a"]), 2, "one element makes a long value");
        assert_eq!(fitting(&["RENAME a900 b", "GET b", "GET b"]), 2);
        assert_eq!(fitting(&["COPY a900 b", "GET b", "GET b"]), 2);
        assert_eq!(fitting(&["ATOMIC 0 2 GET a400 2 GET b400", "GET c400", "GET d1"]), 1);
        assert_eq!(fitting(&["SETRANGE a 9223372036854775807 x", "SETRANGE a 9223372036854775807 x", "MGET b c"]), 2);
    }

    #[test]
    fn a_reply_may_hold_all_elements_of_a_key() {
        assert_eq!(fitting(&["HGETALL a600", "HKEYS b600", "HGET c1 f"]), 1);
        assert_eq!(fitting(&["HMGET a400 f f f", "HGET b1 f"]), 1, "a field may be asked for more than once");
        assert_eq!(fitting(&["HSET a900 f v", "HLEN b900", "HDEL c900 f", "HGET d400 f"]), 4);
        assert_eq!(fitting(&["LRANGE a600 0 -1", "LPOP b1", "SMEMBERS c600"]), 2);
        assert_eq!(fitting(&["SUNION a400 b400 c400", "ZRANGE d1 0 -1"]), 1, "all keys count");
        assert_eq!(fitting(&["ZUNIONSTORE a 2 b600 c600", "ZCARD a", "ZRANGE a 0 -1", "GET d1"]), 2);
        let search = "FROMLONLAT 1 2 BYRADIUS 3 KM";
        assert_eq!(fitting(&[&format!("GEOSEARCH a600 {search}"), "GEOPOS b600 m", "GET c600"]), 2);
        assert_eq!(fitting(&[&format!("GEOSEARCHSTORE a b600 {search}"), "GEORADIUS a 1 2 3 KM", "GET c600"]), 2);
        assert_eq!(fitting(&["SORT a400 GET # GET #", "SORT b400", "GET c1"]), 1);
        assert_eq!(fitting(&["SORT {t}a1 GET {t}w_*", "GET b1"]), 1, "how long the values are is not known");
        assert_eq!(fitting(&["SORT a600 STORE b", "LRANGE b 0 -1", "GET c600"]), 2);
        let pushed = format!("RPUSH a{}", format!(" {}", "v".repeat(300)).repeat(4));
        assert_eq!(fitting(&[&pushed, "LRANGE a 0 -1", "LLEN b"]), 1, "elements count together");
    }

    #[test]
    fn where_nothing_long_is_stored_nothing_is_looked_up() {
        let reads = commands(&["GET a", "GET b", "SET c vvvv"]);
        assert!(fits(reads.iter().map(Option::as_ref), 496, LIMIT));
        assert!(!fits(reads.iter().map(Option::as_ref), 497, LIMIT));
    }
}
