//! Random histories with crashes, against a model in a map.

use std::collections::BTreeMap;

use simplekv_engine::fs::MemFs;
use simplekv_engine::record::{Record, SlotChangeKind};
use simplekv_engine::{BatchBuilder, BatchStart, Engine, Found};
use simplekv_types::limits::VALUE_BYTES_MAX;
use simplekv_types::{Epoch, GroupTime, Lsn, Slot, SlotRange};

use crate::slots::change;
use crate::support::{delete, next, put_until, try_open};

/// A SplitMix64 sequence.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put { key: String, value: String, expire_at: Option<u64> },
    Delete { key: String },
    Clear { slot: Slot },
    Tick,
}

/// One batch as the model remembers it.
#[derive(Clone, Debug)]
struct Step {
    end: Lsn,
    time: u64,
    ops: Vec<Op>,
}

type State = BTreeMap<String, (String, Option<u64>)>;

/// What a replica that has applied these steps holds.
fn state(steps: &[Step]) -> State {
    let mut state = State::new();
    for step in steps {
        state.retain(|_, (_, expire_at)| expire_at.is_none_or(|at| at > step.time));
        for op in &step.ops {
            match op {
                Op::Put { key, value, expire_at } => {
                    state.insert(key.clone(), (value.clone(), *expire_at));
                }
                Op::Delete { key } => {
                    state.remove(key);
                }
                Op::Clear { slot } => state.retain(|key, _| Slot::of_key(key.as_bytes()) != *slot),
                Op::Tick => (),
            }
        }
        state.retain(|_, (_, expire_at)| expire_at.is_none_or(|at| at > step.time));
    }
    state
}

struct Model {
    random: Random,
    /// The log.
    steps: Vec<Step>,
    time: u64,
    epoch: u64,
}

impl Model {
    fn key(&mut self) -> String {
        // A few tags, so that slots hold several keys each.
        format!("{{{}}}{}", self.random.below(6), self.random.below(12))
    }

    fn op(&mut self) -> Op {
        match self.random.below(20) {
            0..=11 => {
                let expire_at = (self.random.below(3) == 0).then(|| self.time + self.random.below(40));
                let length = if self.random.below(30) == 0 { 5000 } else { self.random.below(60) };
                let letter = char::from(b'a' + u8::try_from(self.random.below(26)).unwrap());
                Op::Put {
                    key: self.key(),
                    value: letter.to_string().repeat(usize::try_from(length).unwrap()),
                    expire_at,
                }
            }
            12..=16 => Op::Delete { key: self.key() },
            17 => Op::Clear { slot: Slot::of_key(self.key().as_bytes()) },
            _ => Op::Tick,
        }
    }

    fn append(&mut self, engine: &mut Engine) {
        self.time += self.random.below(10);
        let start = BatchStart { epoch: Epoch(self.epoch), time: GroupTime(self.time), ..next(engine) };
        let mut builder = BatchBuilder::new(start, VALUE_BYTES_MAX);
        let mut ops = Vec::new();
        for _ in 0..=self.random.below(6) {
            let op = self.op();
            push(&mut builder, &op);
            ops.push(op);
        }
        let batch = builder.finish().unwrap();
        self.steps.push(Step { end: batch.end(), time: self.time, ops });
        engine.append(&[batch]).unwrap();
    }

    /// A batch boundary between what is applied and the end of the log.
    fn boundary(&mut self, engine: &Engine) -> Lsn {
        let ends: Vec<Lsn> = self.steps.iter().map(|step| step.end).filter(|end| *end >= engine.applied()).collect();
        let choice = self.random.below(ends.len() as u64 + 1);
        ends.get(usize::try_from(choice).unwrap()).copied().unwrap_or(engine.log_end())
    }

    fn truncate(&mut self, lsn: Lsn) {
        self.steps.retain(|step| step.end <= lsn);
        self.time = self.steps.last().map_or(0, |step| step.time);
        self.epoch += 1;
    }

    fn applied(&self, engine: &Engine) -> &[Step] {
        let applied = self.steps.partition_point(|step| step.end <= engine.applied());
        &self.steps[..applied]
    }

    fn check(&self, engine: &Engine, what: &str) {
        assert_eq!(engine.log_end(), self.steps.last().map_or(Lsn(0), |step| step.end), "{what}");
        let expected = state(self.applied(engine));
        let reader = engine.reader();
        let guard = reader.guard();
        let mut found = State::new();
        for slot in (0..6).map(|tag| Slot::of_key(tag.to_string().as_bytes())) {
            guard.keys(slot, &mut |key| {
                let Found { value, expire_at, .. } =
                    guard.get(slot, key).unwrap().expect("a key that is shown is there");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                found.insert(text(key), (text(&value), expire_at.map(|at| at.0)));
            });
        }
        drop(guard);
        assert_eq!(found, expected, "{what}");
        assert_eq!(reader.totals().keys, expected.len() as u64, "{what}");
        let live: u64 = engine.segment_stats().iter().map(|segment| segment.live_bytes).sum();
        assert_eq!(live, reader.totals().bytes, "{what}");
        self.check_pending(engine, &expected, what);
    }

    /// Evaluation sees the whole log: what is pending where anything is, the applied state elsewhere.
    fn check_pending(&self, engine: &Engine, applied: &State, what: &str) {
        let all = state(&self.steps);
        for key in (0..6).flat_map(|tag| (0..12).map(move |key| format!("{{{tag}}}{key}"))) {
            let slot = Slot::of_key(key.as_bytes());
            let evaluated = match engine.pending(slot, key.as_bytes()) {
                Some(pending) => pending
                    .into_found()
                    .map(|found| (String::from_utf8(found.value.to_vec()).unwrap(), found.expire_at)),
                None => applied.get(&key).map(|(value, at)| (value.clone(), at.map(GroupTime))),
            };
            let visible =
                evaluated.filter(|(_, at)| at.is_none_or(|at| at > engine.last_time())).map(|(value, _)| value);
            assert_eq!(visible.as_ref(), all.get(&key).map(|(value, _)| value), "{what}: {key}");
            let dirty = engine.reader().pending_lsn(slot, key.as_bytes()).is_some();
            assert!(dirty || all.get(&key) == applied.get(&key), "{what}: {key} changes unannounced");
        }
    }
}

fn push(builder: &mut BatchBuilder, op: &Op) {
    let range: SlotRange;
    let record = match op {
        Op::Put { key, value, expire_at } => put_until(key, value, *expire_at),
        Op::Delete { key } => delete(key),
        Op::Clear { slot } => {
            range = SlotRange::from(*slot);
            builder.push(&change(SlotChangeKind::Clear, &[range])).unwrap();
            return builder.end_command();
        }
        Op::Tick => Record::Tick,
    };
    builder.push(&record).unwrap();
    builder.end_command();
}

fn run(seed: u64) {
    let fs = MemFs::new();
    let mut model = Model { random: Random(seed), steps: Vec::new(), time: 1000, epoch: 1 };
    let (mut engine, _) = try_open(&fs).unwrap();
    let mut flushed = Lsn(0);
    for round in 0..120 {
        let what = format!("seed {seed}, round {round}");
        match model.random.below(20) {
            0..=9 => model.append(&mut engine),
            10..=13 => {
                let to = model.boundary(&engine);
                while engine.apply_to(to, &mut |_| ()) {}
                assert_eq!(engine.applied(), to, "{what}");
            }
            14 | 15 => flushed = engine.flusher().flush().unwrap(),
            16 => {
                let to = model.boundary(&engine);
                engine.truncate_to(to).unwrap();
                flushed = flushed.min(to);
                model.truncate(to);
            }
            17 => engine.record_flush().unwrap(),
            crash => {
                let applied = engine.applied();
                if crash == 18 {
                    fs.crash_process()
                } else {
                    fs.lose_power(model.random.below(u64::MAX))
                }
                drop(engine);
                let recovery;
                (engine, recovery) = try_open(&fs).unwrap_or_else(|error| panic!("{what}: {error}"));
                let end = engine.log_end();
                assert!(
                    recovery.applied <= applied
                        && (crash == 19 || end == model.steps.last().map_or(Lsn(0), |step| step.end)),
                    "{what}"
                );
                assert!(end >= flushed, "{what}: flushed {flushed}, {recovery:?}");
                model.steps.retain(|step| step.end <= end);
                model.time = model.steps.last().map_or(1000, |step| step.time);
                flushed = flushed.min(end);
            }
        }
        model.check(&engine, &what);
    }
}

#[test]
fn random_histories_with_crashes_agree_with_the_model() {
    for seed in 0..150 {
        run(seed);
    }
}
