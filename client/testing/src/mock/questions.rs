//! What nodes say they know.

use simplekv_proto::v1;
use simplekv_proto::v1::event::What;
use simplekv_types::Reply;

/// So that answers of several nodes can be told apart when they are added up: at node `n`, channels `all` and `of-n` have `n` listeners,
/// there are `n` patterns, and what was written is held by `n` followers.
pub(super) fn answer(node: u32, question: &v1::Question) -> What {
    let words: Vec<String> = question.args.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let number = Reply::Int(node.into());
    let reply = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["PUBSUB", "CHANNELS", ..] => Reply::Array(vec![Reply::fixed("all"), Reply::text(format!("of-{node}"))]),
        ["PUBSUB", "NUMSUB", channels @ ..] => {
            Reply::Array(channels.iter().flat_map(|channel| [Reply::text(*channel), number.clone()]).collect())
        }
        ["PUBSUB", "NUMPAT"] | ["WAIT", ..] => number,
        ["WAITAOF", ..] => Reply::Array(vec![Reply::Int(1), number]),
        _ => return What::Ended(v1::Ended {}),
    };
    What::Answer(reply.into())
}
