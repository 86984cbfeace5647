//! `/kv-store`: the API of the causal key-value store this project's users may come from, as its programs expect it.
//!
//! Statuses, names and sentences are that store's, its `causal-context` is a session token in another dress ([`context`]), and its
//! shards are the groups. docs/http.md lists what is different, and why.

mod answer;
mod context;
mod input;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use simplekv_client::{Error, Group, GroupId, Kind, Options, ReadPolicy, Reply, Session, Topology};
use simplekv_types::Slot;

use self::answer::{Answer, Trouble};
use self::input::Input;
use super::path::unescape;
use super::session::{count, tell};
use super::write::unexpected;
use crate::shared::Shared;

const PREFIX: &str = "/kv-store/keys/";
const KEY_BYTES_MAX: usize = 50;
const VIEW_CHANGE: &str = "A router does not change the view: simplekv-admin add-group does, see simplekv-admin --help";

pub(super) async fn get(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    serve(&shared, request, async |asked: &Asked| {
        let key = asked.key()?;
        let value = asked.session.get(key.clone()).read(asked.policy()).await;
        let address = address(&shared, &key);
        let answer = match value.map_err(Trouble::from).and_then(|value| value.map(text).transpose()) {
            Ok(Some(value)) => {
                Answer { value: Some(value), exists: Some(true), ..Answer::ok("Retrieved successfully") }
            }
            Ok(None) => Answer::missing(),
            Err(trouble) => trouble.into(),
        };
        Ok(Answer { address, ..answer })
    })
    .await
}

pub(super) async fn put(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    serve(&shared, request, async |asked: &Asked| {
        let key = asked.key()?;
        let value = asked.input.value.clone().filter(|value| !value.is_empty()).ok_or(Trouble::VALUE_MISSING)?;
        // Answers what was there, in the same step that replaces it.
        let set = asked.session.cmd("SET").key(key.clone()).arg(value).arg("GET").await;
        let address = address(&shared, &key);
        let answer = match set {
            Ok(Reply::Null) => Answer::created(),
            Ok(Reply::Bulk(_)) => Answer { replaced: Some(true), ..Answer::ok("Updated successfully") },
            Ok(other) => Trouble::from(unexpected("SET", &other)).into(),
            Err(error) => Trouble::from(error).into(),
        };
        Ok(Answer { address, ..answer })
    })
    .await
}

pub(super) async fn delete(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    serve(&shared, request, async |asked: &Asked| {
        let key = asked.key()?;
        let deleted = asked.session.del(key.clone()).await;
        let address = address(&shared, &key);
        let answer = match deleted {
            Ok(true) => Answer { exists: Some(true), ..Answer::ok("Deleted successfully") },
            Ok(false) => Answer::missing(),
            Err(error) => Trouble::from(error).into(),
        };
        Ok(Answer { address, ..answer })
    })
    .await
}

/// The keys of all shards; the original's answers for the node that was asked.
pub(super) async fn key_count(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    serve(&shared, request, async |asked: &Asked| {
        let replies = asked.session.execute_on_every_group(dbsize(), Kind::Read, by_leaders()).await;
        let counts = replies.into_iter().map(|(_, reply)| count_of(reply));
        let total = counts.sum::<Result<u64, Trouble>>()?;
        Ok(Answer { key_count: Some(total), ..Answer::ok("Key count retrieved successfully") })
    })
    .await
}

pub(super) async fn shards(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    serve(&shared, request, async |_: &Asked| {
        let topology = known_topology(&shared).await?;
        let shards = topology.groups().iter().map(|group| group.id.0).collect();
        Ok(Answer { shards: Some(shards), ..Answer::ok("Shard membership retrieved successfully") })
    })
    .await
}

pub(super) async fn shard(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Response {
    serve(&shared, request, async |asked: &Asked| {
        let topology = known_topology(&shared).await?;
        let number = id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok()).flatten();
        let group = number.and_then(|id| topology.group(GroupId(id))).ok_or(Trouble::NO_SUCH_SHARD)?;
        let counted = count_of(asked.session.execute(group.id, dbsize(), Kind::Read, by_leaders()).await);
        let address = leader(&topology, group);
        let replicas: Vec<String> =
            group.replicas.iter().filter_map(|&node| Some(topology.node(node)?.addresses.grpc.clone())).collect();
        let answer = match counted {
            Ok(count) => Answer {
                shard_id: Some(group.id.0),
                key_count: Some(count),
                replicas: Some(replicas),
                ..Answer::ok("Shard information retrieved successfully")
            },
            Err(trouble) => trouble.into(),
        };
        Ok(Answer { address, ..answer })
    })
    .await
}

pub(super) async fn view_change(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    serve(&shared, request, async |_: &Asked| Err(Trouble::new(StatusCode::NOT_IMPLEMENTED, VIEW_CHANGE))).await
}

/// A request that could be read.
struct Asked {
    uri: Uri,
    input: Input,
    session: Session,
    policy: ReadPolicy,
}

impl Asked {
    fn key(&self) -> Result<Bytes, Trouble> {
        let escaped = self.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let key = unescape(escaped).ok_or(Trouble::NOT_PARSED)?;
        match key.len() {
            0 => Err(Trouble::KEY_MISSING),
            1..=KEY_BYTES_MAX => Ok(key.into()),
            _ => Err(Trouble::KEY_TOO_LONG),
        }
    }

    /// One that has seen something goes on from there; one that has not is shown the latest.
    fn policy(&self) -> ReadPolicy {
        if self.input.context.is_empty() { self.policy } else { ReadPolicy::SESSION }
    }
}

async fn serve(
    shared: &Shared,
    request: Request,
    work: impl AsyncFnOnce(&Asked) -> Result<Answer, Trouble>,
) -> Response {
    let (method, uri): (Method, Uri) = (request.method().clone(), request.uri().clone());
    let response = match input::read(request).await {
        Err(trouble) => Answer::from(trouble).response(&method, None),
        Ok(input) => {
            let session = shared.client.resume(input.context.clone());
            let asked = Asked { uri, input, session, policy: shared.client.read_policy() };
            let worked = work(&asked).await;
            // Where nothing was asked of the store, it tells no context.
            let context = worked.is_ok().then(|| asked.session.token());
            let mut response = worked.unwrap_or_else(Answer::from).response(&method, context.as_ref());
            tell(&asked.session.token(), &mut response);
            response
        }
    };
    count(shared, &response);
    response
}

async fn known_topology(shared: &Shared) -> Result<Arc<Topology>, Trouble> {
    let topology = shared.known_topology().await;
    if topology.groups().is_empty() { Err(Trouble::MAIN_IS_DOWN) } else { Ok(topology) }
}

/// The node that leads the key's shard: who answers writes, and reads in most cases.
fn address(shared: &Shared, key: &[u8]) -> Option<String> {
    let topology = shared.topology();
    leader(&topology, topology.owner(Slot::of_key(key))?)
}

fn leader(topology: &Topology, group: &Group) -> Option<String> {
    Some(topology.node(group.leader?)?.addresses.grpc.clone())
}

/// JSON has no other values than texts.
fn text(value: Bytes) -> Result<String, Trouble> {
    String::from_utf8(value.into()).map_err(|_| Trouble::NO_TEXT)
}

/// Only a leader knows how many keys there are.
fn by_leaders() -> Options {
    Options::default().read(ReadPolicy::Linearizable).share(false)
}

fn dbsize() -> Vec<Bytes> {
    vec![Bytes::from_static(b"DBSIZE")]
}

fn count_of(reply: Result<Reply, Error>) -> Result<u64, Trouble> {
    match reply? {
        Reply::Int(number) => Ok(u64::try_from(number).unwrap_or(0)),
        Reply::Error(failure) => Err(crate::error::Problem::from(failure).into()),
        other => Err(unexpected("DBSIZE", &other).into()),
    }
}
