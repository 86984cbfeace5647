use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use simplekv_types::{Epoch, Lineage, Reply, Slot, SlotMapVersion};

use super::*;

fn key() -> FlightKey {
    let args = [Bytes::from_static(b"GET"), Bytes::from_static(b"hot")];
    FlightKey::new(Target::Slot(Slot::MIN), ReadPolicy::Linearizable, Arc::new(args))
}

/// A register on the far side of a network: a read takes its value somewhere between being sent and being answered.
struct Register {
    value: AtomicU64,
    reads: AtomicU64,
    rng: parking_lot::Mutex<StdRng>,
}

impl Register {
    fn new(seed: u64) -> Arc<Self> {
        let rng = parking_lot::Mutex::new(StdRng::seed_from_u64(seed));
        Arc::new(Self { value: AtomicU64::new(0), reads: AtomicU64::new(0), rng })
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.rng.lock().random_range(1..20))
    }

    async fn read(self: Arc<Self>) -> Outcome {
        self.reads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.delay()).await;
        let value = self.value.load(Ordering::Relaxed);
        tokio::time::sleep(self.delay()).await;
        Ok(Reply::Int(i64::try_from(value).unwrap()).into())
    }

    async fn write(&self, value: u64) {
        tokio::time::sleep(self.delay()).await;
        self.value.store(value, Ordering::Relaxed);
        tokio::time::sleep(self.delay()).await;
    }
}

async fn shared_read(flights: &Arc<Flights>, register: &Arc<Register>, rule: Join) -> u64 {
    let answer = match flights.join(key(), rule) {
        Flight::Alone(_solo) => return value(Arc::clone(register).read().await),
        Flight::Lead(lead, answer) => {
            let register = Arc::clone(register);
            tokio::spawn(lead.run(move |_, _| Arc::clone(&register).read()));
            answer
        }
        Flight::Wait(answer) => answer,
    };
    value(landed(answer).await)
}

fn value(outcome: Outcome) -> u64 {
    match outcome {
        Ok(Answered { reply: Reply::Int(value), .. }) => u64::try_from(value).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// One writer counts up, readers share. Returns how many reads returned a value older than a write that had been acknowledged
/// before the read began: each of them makes the history not linearizable.
async fn stale_reads(seed: u64, rule: Join) -> usize {
    let (flights, register) = (Arc::<Flights>::default(), Register::new(seed));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn({
        let (register, acknowledged) = (Arc::clone(&register), Arc::clone(&acknowledged));
        async move {
            for value in 1..=200 {
                register.write(value).await;
                acknowledged.store(value, Ordering::Relaxed);
            }
        }
    });
    let readers = (0..8).map(|_| {
        let (flights, register, acknowledged) =
            (Arc::clone(&flights), Arc::clone(&register), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            let mut stale = 0;
            for _ in 0..200 {
                tokio::time::sleep(register.delay()).await;
                let before = acknowledged.load(Ordering::Relaxed);
                stale += usize::from(shared_read(&flights, &register, rule).await < before);
            }
            stale
        })
    });
    let counts = futures::future::join_all(readers.collect::<Vec<_>>()).await;
    writer.await.unwrap();
    counts.into_iter().map(Result::unwrap).sum()
}

#[tokio::test(start_paused = true)]
async fn joining_only_flights_not_yet_sent_is_linearizable() {
    for seed in 0..20 {
        assert_eq!(stale_reads(seed, Join::Unsent).await, 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn joining_a_flight_in_the_air_is_caught_by_the_history() {
    let mut caught = 0;
    for seed in 0..20 {
        caught += usize::from(stale_reads(seed, Join::Any).await > 0);
    }
    assert!(caught >= 15, "only {caught} of 20 histories showed a stale read: the check proves little");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_cost_two_flights() {
    let (flights, register) = (Arc::<Flights>::default(), Register::new(1));
    let readers = (0..1000).map(|_| shared_read(&flights, &register, Join::Unsent));
    futures::future::join_all(readers).await;
    assert_eq!(register.reads.load(Ordering::Relaxed), 2);
    assert!(flights.keys.is_empty(), "nothing is kept of a key nobody reads");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_goes_away_takes_nobody_along() {
    let (flights, register) = (Arc::<Flights>::default(), Register::new(1));
    let mut first = Box::pin(shared_read(&flights, &register, Join::Unsent));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(shared_read(&flights, &register, Join::Unsent));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(second.await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_is_not_polled_holds_nobody_up() {
    let (flights, register) = (Arc::<Flights>::default(), Register::new(1));
    let Flight::Alone(asleep) = flights.join(key(), Join::Unsent) else { panic!("the first is alone") };
    let began = Instant::now();
    assert_eq!(shared_read(&flights, &register, Join::Unsent).await, 0);
    assert!(began.elapsed() < Duration::from_secs(1));
    let Flight::Alone(other) = flights.join(key(), Join::Unsent) else { panic!("nobody else is in the air") };
    drop(asleep);
    assert_eq!(flights.keys.len(), 1, "who wakes up late does not take the next one's place");
    drop(other);
    assert!(flights.keys.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_flight_nobody_waits_for_is_not_flown() {
    let (flights, register) = (Arc::<Flights>::default(), Register::new(1));
    let mut first = Box::pin(shared_read(&flights, &register, Join::Unsent));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(shared_read(&flights, &register, Join::Unsent));
    assert!(futures::poll!(&mut second).is_pending());
    drop(second);
    first.await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(register.reads.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bounded_read_joins_a_flight_that_is_young_enough() {
    let flights = Arc::<Flights>::default();
    let bound = Join::SentWithin(Duration::from_millis(10));
    let Flight::Lead(mut lead, _first) = flights.join(key(), bound) else { panic!("the first leads") };
    tokio::time::advance(Duration::from_millis(10)).await;
    let Flight::Wait(_young) = flights.join(key(), bound) else { panic!("somebody leads") };
    tokio::time::advance(Duration::from_millis(1)).await;
    let Flight::Wait(_late) = flights.join(key(), bound) else { panic!("somebody leads") };
    assert_eq!(lead.turn_around().len(), 2);
    assert_eq!(lead.turn_around().len(), 1);
}

#[test]
fn every_policy_that_promises_linearizability_joins_only_the_unsent() {
    let wait = Duration::from_millis(1);
    let rules: BTreeSet<String> =
        [ReadPolicy::Linearizable, ReadPolicy::Leader, ReadPolicy::Quorum, ReadPolicy::Session { wait }]
            .map(|policy| format!("{:?}", Join::of(policy)))
            .into();
    assert_eq!(rules, BTreeSet::from(["Unsent".to_owned()]));
    assert_eq!(Join::of(ReadPolicy::Any), Join::Any);
}

fn seen(end: u64) -> Position {
    let (group, slots, lineage) = (GroupId(1), SlotMapVersion(0), Lineage(0));
    Position { group, slots, lineage, epoch: Epoch(1), end: Lsn(end) }
}

/// A session takes part in a flight that sees at least what it has seen itself, and in no other.
#[tokio::test(start_paused = true)]
async fn a_session_joins_what_covers_it() {
    let flights = Arc::<Flights>::default();
    let Flight::Alone(solo) = flights.join(key(), Join::Covering(seen(5))) else { panic!("the first is alone") };
    let Flight::Lead(mut lead, _first) = flights.join(key(), Join::Covering(seen(5))) else { panic!("it leads") };
    let Flight::Wait(_second) = flights.join(key(), Join::Covering(seen(7))) else { panic!("it joins the next") };
    drop(solo);
    lead.turn_around();
    assert_eq!(lead.seen, Some(seen(7)), "the next flight sees what any of those on it has seen");

    let Flight::Wait(_covered) = flights.join(key(), Join::Covering(seen(6))) else { panic!("it joins in the air") };
    let Flight::Wait(_newer) = flights.join(key(), Join::Covering(seen(8))) else { panic!("it waits for the next") };
    assert_eq!(lead.turn_around().len(), 3);
    assert_eq!((lead.seen, lead.turn_around().len()), (Some(seen(8)), 1));
}

/// Whoever joins late has waited for part of the flight already: the node is asked for something younger by as much.
#[test]
fn a_flight_that_may_be_joined_in_the_air_asks_for_less() {
    let max_lag = Duration::from_millis(100);
    let Join::SentWithin(late) = Join::of(ReadPolicy::Bounded { max_lag }) else { panic!("it may be joined") };
    let ReadPolicy::Bounded { max_lag: asked } = asked_for(ReadPolicy::Bounded { max_lag }) else { panic!("bounded") };
    assert_eq!(late + asked, max_lag);
    assert_eq!(asked_for(ReadPolicy::Any), ReadPolicy::Any);
}

/// A slot that went from one group to another while readers gathered: what one of them saw of the old group and another of the new one
/// cannot be asked for at once.
#[tokio::test(start_paused = true)]
async fn a_flight_for_two_groups_sees_everything() {
    let flights = Arc::<Flights>::default();
    let Flight::Alone(_solo) = flights.join(key(), Join::Covering(seen(5))) else { panic!("the first is alone") };
    let Flight::Lead(mut lead, _old) = flights.join(key(), Join::Covering(seen(9))) else { panic!("it leads") };
    let elsewhere = Position { group: GroupId(2), ..seen(3) };
    let Flight::Wait(_new) = flights.join(key(), Join::Covering(elsewhere)) else { panic!("it joins the next") };
    let Flight::Wait(_late) = flights.join(key(), Join::Covering(seen(20))) else { panic!("it joins the next") };
    lead.turn_around();
    assert_eq!(lead.seen, Some(OF_SEVERAL_GROUPS));
    let Flight::Wait(_other) = flights.join(key(), Join::Covering(seen(1))) else { panic!("it waits for the next") };
    let anew = Position { lineage: Lineage(1), ..seen(2) };
    let Flight::Wait(_anew) = flights.join(key(), Join::Covering(anew)) else { panic!("it waits for the next") };
    assert_eq!(lead.turn_around().len(), 3, "nobody can say that what is in the air covers it");
    assert_eq!(lead.seen, Some(OF_SEVERAL_GROUPS), "nor is there a replica with both histories of the group");
}
