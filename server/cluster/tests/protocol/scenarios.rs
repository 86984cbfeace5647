//! The stories in `testdata/`: what happens, command by command, and what everybody does about it.
//!
//! Each file is one world. `REWRITE=1` writes what happened instead of comparing it; read the difference before believing it.

use bytes::Bytes;
use datadriven::{TestCase, walk};
use simplekv_cluster::{Role, Window, Wish};
use simplekv_types::peer::{Append, AppendAck, Envelope, Message, Sender};
use simplekv_types::{Batch, Epoch, FlushPolicy, GroupTime, Lineage, Lsn, NodeId, RecoveryPolicy, RunId, Tick};

use crate::harness::{Fate, Link, Settings, World, content, ms, name};

#[test]
fn stories_end_as_written() {
    walk("tests/protocol/testdata", |file| {
        let mut world: Option<World> = None;
        file.run(|case| tell(&mut world, case));
    });
}

fn tell(world: &mut Option<World>, case: &TestCase) -> String {
    // Commands that belong together stand in one block: the first is its directive, the others its input.
    let mut first = Command::new(&case.directive);
    first.args.extend(case.args.iter().map(|(key, values)| (key.clone(), values.clone())));
    first.args.sort();
    let others = case.input.lines().map(Command::parse);
    for command in std::iter::once(first).chain(others) {
        if command.directive == "group" {
            *world = Some(group(&command));
        } else {
            obey(world.as_mut().expect("a story begins with `group`"), &command);
        }
    }
    let world = world.as_mut().expect("a story begins with `group`");
    world.trace.drain(..).map(|line| line + "\n").collect()
}

/// `directive key key=value key=(value,value)`.
struct Command {
    directive: String,
    args: Vec<(String, Vec<String>)>,
}

impl Command {
    fn new(directive: &str) -> Self {
        Self { directive: directive.to_owned(), args: Vec::new() }
    }

    fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut command = Self::new(words.next().unwrap());
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let values = value.trim_matches(['(', ')']).split(',').filter(|value| !value.is_empty());
            command.args.push((key.to_owned(), values.map(str::to_owned).collect()));
        }
        command
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(|(key, _)| key.as_str())
    }

    fn values(&self, key: &str) -> Option<&[String]> {
        self.args.iter().find(|(other, _)| other == key).map(|(_, values)| values.as_slice())
    }
}

fn argument<'a>(command: &'a Command, key: &str) -> Option<&'a str> {
    command.values(key).map(|values| values.first().map_or("", String::as_str))
}

fn number(command: &Command, key: &str) -> Option<u64> {
    argument(command, key)?.parse().ok()
}

/// The nodes among the arguments, which are written as bare numbers.
fn nodes(command: &Command) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = command.keys().filter_map(|key| key.parse().ok().map(NodeId)).collect();
    nodes.sort_unstable();
    nodes
}

/// The links named: `1-2` both ways, `from=1 to=(2,3)` one way.
fn links(command: &Command) -> Vec<(NodeId, NodeId)> {
    let node = |text: &str| text.parse().ok().map(NodeId);
    let both = command.keys().filter_map(|key| key.split_once('-')).filter_map(|(a, b)| Some((node(a)?, node(b)?)));
    let mut links: Vec<(NodeId, NodeId)> = both.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
    if let Some(from) = argument(command, "from").and_then(node) {
        links.extend(command.values("to").unwrap().iter().filter_map(|to| Some((from, node(to)?))));
    }
    links
}

fn group(command: &Command) -> World {
    let small = |key: &str| number(command, key).map(|number| u32::try_from(number).unwrap());
    let nodes = small("nodes").unwrap_or(3);
    let settings = Settings {
        nodes,
        in_sync: small("in-sync").unwrap_or(nodes),
        min_in_sync: small("min").unwrap_or(2),
        flush: argument(command, "flush").map_or(FlushPolicy::Replicated, |policy| policy.parse().unwrap()),
        grant_read_leases: argument(command, "read-leases").is_some(),
        controller: argument(command, "controller").is_some(),
        recovery: match argument(command, "longest") {
            Some(_) => RecoveryPolicy::Longest,
            None => RecoveryPolicy::Manual,
        },
        window: Window::default(),
    };
    let mut world = World::new(settings, None);
    if argument(command, "cold").is_none() {
        world.run(ms(500));
        world.trace.clear();
    }
    world
}

fn obey(world: &mut World, command: &Command) {
    match command.directive.as_str() {
        // A block's first line is read by rules of its own; this one lets all commands stand below it.
        "then" => (),
        "run" => {
            let duration = command.keys().find_map(|key| key.parse().ok()).unwrap();
            world.run(ms(duration));
        }
        "write" => {
            for node in nodes(command) {
                let records = u32::try_from(number(command, "records").unwrap_or(1)).unwrap();
                let line = match world.write(node, records) {
                    Ok(write) => format!("{}: write {write} appended", node.0),
                    Err(refusal) => format!("{}: refused: {refusal}", node.0),
                };
                world.note(line);
            }
        }
        "cut" => set_links(world, command, Link::Cut),
        "hold" => set_links(world, command, Link::Held),
        "free" => set_links(world, command, Link::Up),
        "heal" => world.heal_links(),
        "crash" => nodes(command).into_iter().for_each(|node| world.crash(node)),
        "power-loss" => nodes(command).into_iter().for_each(|node| world.lose_power(node)),
        "wipe" => nodes(command).into_iter().for_each(|node| world.wipe(node)),
        "restart" => nodes(command).into_iter().for_each(|node| world.start(node, false)),
        "forget-tail" => {
            let records = number(command, "records").unwrap();
            nodes(command).into_iter().for_each(|node| world.forget_tail(node, records));
        }
        "pause" => nodes(command).into_iter().for_each(|node| world.pause(node, ms(number(command, "for").unwrap()))),
        "hang-disk" => {
            nodes(command).into_iter().for_each(|node| world.hang_disk(node, ms(number(command, "for").unwrap())))
        }
        "metadata" => metadata(world, command),
        "transfer" => {
            let to = number(command, "to").map(|node| NodeId(u32::try_from(node).unwrap()));
            nodes(command).into_iter().for_each(|node| world.transfer(node, to));
        }
        "recover" => {
            let node = |text: &String| NodeId(text.parse().unwrap());
            world.recover(&Wish {
                to: command.values("to").and_then(|values| values.first()).map(node),
                lost: command.values("lost").unwrap_or_default().iter().map(node).collect(),
                min_in_sync: number(command, "min").map(|number| u32::try_from(number).unwrap()),
            });
        }
        "stop" => nodes(command).into_iter().for_each(|node| world.stop(node)),
        "show" => show(world, command),
        "append" | "ack" | "revoke-ack" => inject(world, command),
        other => panic!("`{other}` is no command"),
    }
}

fn set_links(world: &mut World, command: &Command, link: Link) {
    for (from, to) in links(command) {
        world.set_link(from, to, link);
    }
}

fn metadata(world: &mut World, command: &Command) {
    for key in command.keys() {
        match key {
            "down" => world.metadata_down = true,
            "up" => world.metadata_down = false,
            // Who is told of changes only late.
            "watch-stops" => world.watch_works = false,
            "watch-works" => world.watch_works = true,
            "listed" => world.publish_record(),
            "elect" => {
                let node = NodeId(u32::try_from(number(command, "elect").unwrap()).unwrap());
                world.elect(node);
            }
            "restored-from-backup" => world.regress(),
            "next" => {
                world.fate = match argument(command, "next").unwrap() {
                    "reply-lost" => Fate::ReplyLost,
                    "request-lost" => Fate::RequestLost,
                    "refused" => Fate::Refused,
                    "late" => Fate::Late,
                    other => panic!("`{other}` is no fate"),
                }
            }
            "by" => world.next_late_by = number(command, "by").map(ms),
            other => panic!("`{other}` happens to no metadata store"),
        }
    }
}

/// What a node knows and may do.
fn show(world: &mut World, command: &Command) {
    for node in nodes(command) {
        let Some(process) = world.process(node) else {
            world.note(format!("{}: down", node.0));
            continue;
        };
        let status = process.replica.status();
        let clock = world.nodes[&node].clock.read(world.now);
        let serving = process.published;
        let left = |until: Tick| match until {
            Tick(u64::MAX) => "for ever".to_owned(),
            until if until > clock => format!("for {} ms", until.since(clock).as_millis()),
            _ => "none".to_owned(),
        };
        let mut line = format!("{}: {:?} epoch={} log={}", node.0, status.role, status.epoch, log(world, node));
        line += &format!(" high_watermark={} verified_end={}", status.high_watermark, status.verified_end);
        match status.role {
            Role::Leader => {
                let required: Vec<String> = status.required_acks.iter().map(|member| name(*member)).collect();
                line += &format!(" required=({}) lease={}", required.join(","), left(serving.leader_lease_until));
            }
            _ => line += &format!(" read_lease={}", left(serving.read_lease_until)),
        }
        world.note(line);
    }
}

/// A log as its batches: write, or `start` where an epoch begins, with the epoch.
fn log(world: &World, node: NodeId) -> String {
    let batches = world.nodes[&node].disk.log.iter().map(|batch| match content(batch) {
        0 => format!("start@{}", batch.epoch),
        write => format!("w{write}@{}", batch.epoch),
    });
    format!("[{}]", batches.collect::<Vec<_>>().join(" "))
}

/// Delivers a message as the network might still hold it: `append from=1 to=2 epoch=1 prev=3@1 batches=(w7@1) committed=2`, or
/// `ack from=2 to=1 epoch=1 verified=4`, or `revoke-ack from=2 to=1 epoch=1 id=1`. Who speaks is the node's present process, or the run named.
fn inject(world: &mut World, command: &Command) {
    let id = |key: &str| NodeId(u32::try_from(number(command, key).unwrap()).unwrap());
    let (from, to) = (id("from"), id("to"));
    let run = number(command, "run").map(RunId).or_else(|| world.run_of(from)).unwrap();
    let storage = world.nodes[&from].disk.identity.storage;
    let epoch = Epoch(number(command, "epoch").unwrap());
    let message = match command.directive.as_str() {
        "revoke-ack" => Message::RevokeAck { id: number(command, "id").unwrap() },
        "ack" => {
            let verified_end = Lsn(number(command, "verified").unwrap());
            let now = world.nodes[&to].clock.read(world.now);
            Message::AppendAck(AppendAck { verified_end, echo: now, sent_at: Tick(1), reject: None })
        }
        _ => Message::Append(append(command)),
    };
    let (cluster, group, lineage) = world.address();
    let sender = Sender { node: from, storage, run };
    world.deliver_now(Envelope { cluster, group, lineage, epoch, from: sender, to, message });
}

fn append(command: &Command) -> Append {
    let (prev_end, prev_epoch) = argument(command, "prev").unwrap().split_once('@').unwrap();
    let prev_end = Lsn(prev_end.parse().unwrap());
    Append {
        prev_end,
        prev_epoch: Epoch(prev_epoch.parse().unwrap()),
        batches: batches(command, prev_end),
        high_watermark: Lsn(number(command, "committed").unwrap_or(0)),
        time: GroupTime(1),
        sent_at: Tick(1),
        grant: None,
        fresh: None,
    }
}

/// Batches of one record each: `(w7@1,w8@2)`.
fn batches(command: &Command, first: Lsn) -> Vec<Batch> {
    let names = command.values("batches").unwrap_or_default();
    let each = names.iter().enumerate().map(|(i, name)| {
        let (write, epoch) = name.trim_start_matches('w').split_once('@').unwrap();
        let records: Bytes = match write {
            "start" => Bytes::new(),
            write => Bytes::copy_from_slice(&write.parse::<u64>().unwrap().to_be_bytes()),
        };
        Batch {
            lineage: Lineage(0),
            epoch: Epoch(epoch.parse().unwrap()),
            base: first + i as u64,
            count: 1,
            time: GroupTime(u64::MAX),
            high_watermark: Lsn::ZERO,
            records,
        }
    });
    each.collect()
}
