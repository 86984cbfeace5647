//! What each command does: ask, and report.

mod groups;
mod health;
mod init;
mod load;
mod moves;
mod plan;
mod recovery;

use simplekv_proto::v1;
use simplekv_types::{GroupId, NodeId};

use crate::args::{Args, Command, Explain};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::report::{Explanation, Picture};

pub(crate) async fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if let Command::Health(health) = &args.command {
        return health::run(args, health, output).await;
    }
    let mut node = Connection::open(&args.server, args.timeout).await?;
    match &args.command {
        Command::Init(init) => init::run(&mut node, init, output).await?,
        Command::Status => output.data(&look(&mut node).await?.status())?,
        Command::ListGroups => output.data(&look(&mut node).await?.groups())?,
        Command::ListNodes => output.data(&look(&mut node).await?.nodes())?,
        Command::Slots { group } => output.data(&look(&mut node).await?.slots(*group)?)?,
        Command::FindSlot { key } => output.data(&look(&mut node).await?.locate(key))?,
        Command::AddGroup(add) => groups::add(&mut node, add, output).await?,
        Command::TransferLeader { group, to } => groups::transfer_leader(&mut node, *group, *to, output).await?,
        Command::RecoverGroup(recover) => recovery::recover(&mut node, recover, args.json, output).await?,
        Command::SetRecovery { group, policy } => recovery::set_policy(&mut node, *group, *policy, output).await?,
        Command::Explain(subject) => output.data(&explain(&mut node, subject).await?)?,
        Command::HotKeys(asked) => load::hot_keys(&mut node, asked, output).await?,
        Command::HotSlots(asked) => load::hot_slots(&mut node, asked, output).await?,
        Command::MigrateSlot(asked) => plan::migrate(&mut node, asked, output).await?,
        Command::Rebalance(asked) => plan::rebalance(&mut node, asked, output).await?,
        Command::RemoveGroup(asked) => plan::remove_group(&mut node, asked, output).await?,
        Command::Plan(asked) => plan::run(&mut node, asked, output).await?,
        Command::Migrations(asked) => moves::run(&mut node, asked, output).await?,
        Command::Health(_) => (),
    }
    Ok(Exit::Ok)
}

async fn look(node: &mut Connection) -> Result<Picture, Failure> {
    Picture::of(node.status().await?)
}

async fn explain(node: &mut Connection, subject: &Explain) -> Result<Explanation, Failure> {
    use v1::explain_request::Subject;
    let (name, subject) = match subject {
        Explain::Group { group: GroupId(id) } => (GroupId(*id).to_string(), Subject::Group(*id)),
        Explain::Node { node: NodeId(id) } => (NodeId(*id).to_string(), Subject::Node(*id)),
        Explain::Slot { slot } => (format!("slot {slot}"), Subject::Slot(slot.number().into())),
    };
    let reply = node.explain(v1::ExplainRequest { subject: Some(subject) }).await?;
    Ok(Explanation { subject: name, lines: reply.lines })
}
