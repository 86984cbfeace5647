//! Letting a group go on that has lost all its in-sync replicas.

use std::io::IsTerminal;

use serde::Serialize;
use simplekv_proto::v1;
use simplekv_types::{GroupId, NodeId, RecoveryPolicy};

use crate::args::RecoverGroup;
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Render};
use crate::report::Recovery;

#[derive(Serialize)]
struct PolicySet {
    group: String,
    recovery: String,
}

impl Render for PolicySet {
    fn render(&self, _: bool) -> String {
        format!("{} recovers by `{}` from now on", self.group, self.recovery)
    }
}

pub(super) async fn recover(
    node: &mut Connection,
    recover: &RecoverGroup,
    json: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut request = v1::RecoverGroupRequest {
        group: recover.group.0,
        to: recover.to.map_or(0, |node| node.0),
        lost: recover.lost.iter().map(|node| node.0).collect(),
        min_in_sync: recover.min_in_sync.unwrap_or(0),
        accept_data_loss: false,
        expected: 0,
        digest: String::new(),
    };
    let plan = Recovery::of(recover.group, node.recover_group(request.clone()).await?);
    if recover.dry_run || plan.obstacle.is_some() {
        output.data(&plan)?;
        return plan.obstacle.map_or(Ok(()), |what| Err(Failure::precondition(what, plan.advice)));
    }
    if !recover.accept_data_loss {
        let answers = !json && std::io::stdin().is_terminal();
        if answers {
            output.note(&plan.render(false));
            output.note(&format!("Type {} to accept this: ", recover.group));
        }
        if !(answers && typed().await == recover.group.to_string()) {
            if !answers {
                output.data(&plan)?;
            }
            return Err(Failure::new(
                Exit::Usage,
                "what may be lost was not accepted",
                "nothing was changed",
                "read what it costs above, then repeat the command with --accept-data-loss",
            ));
        }
    }
    // Exactly what was shown, or nothing.
    request.to = plan.chosen_id;
    request.accept_data_loss = true;
    request.expected = plan.revision;
    request.digest = plan.digest;
    let done = Recovery::of(recover.group, node.recover_group(request).await?);
    output.data(&done)?;
    done.obstacle.map_or(Ok(()), |what| Err(Failure::precondition(what, done.advice)))
}

/// A line of the person at the terminal.
async fn typed() -> String {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    // Whoever cannot be read has not accepted.
    read.await.ok().and_then(Result::ok).unwrap_or_default().trim().to_owned()
}

pub(super) async fn set_policy(
    node: &mut Connection,
    group: GroupId,
    policy: RecoveryPolicy,
    output: &mut Output,
) -> Result<(), Failure> {
    node.set_recovery(v1::SetRecoveryRequest { group: group.0, recovery: wire(policy).into() }).await?;
    output.data(&PolicySet { group: group.to_string(), recovery: policy.to_string() })
}

pub(super) fn wire(policy: RecoveryPolicy) -> v1::RecoveryPolicy {
    match policy {
        RecoveryPolicy::Manual => v1::RecoveryPolicy::Manual,
        RecoveryPolicy::Longest => v1::RecoveryPolicy::Longest,
    }
}

impl Recovery {
    fn of(group: GroupId, reply: v1::RecoverGroupReply) -> Self {
        let text = |text: String| (!text.is_empty()).then_some(text);
        let replicas = reply.replicas.into_iter().map(|found| {
            let told = |number: u64| found.answers.then_some(number);
            crate::report::Remnant {
                node: NodeId(found.node).to_string(),
                fate: text(found.fate),
                answers: found.answers,
                lineage: told(found.lineage),
                last_epoch: told(found.last_epoch),
                log_end: told(found.log_end),
                high_watermark: told(found.high_watermark),
                keys: told(found.keys),
                candidate: found.candidate,
                halted: text(found.halted),
            }
        });
        Self {
            group: group.to_string(),
            revision: reply.revision,
            epoch: reply.epoch,
            lineage: reply.lineage,
            min_in_sync: reply.min_in_sync,
            recovering: reply.recovering,
            replicas: replicas.collect(),
            chosen: (reply.chosen != 0).then(|| NodeId(reply.chosen).to_string()),
            chosen_id: reply.chosen,
            new_epoch: reply.new_epoch,
            new_lineage: reply.new_lineage,
            new_min_in_sync: reply.new_min_in_sync,
            digest: reply.digest,
            losses: reply.losses,
            obstacle: text(reply.obstacle),
            advice: reply.advice,
            done: reply.done,
        }
    }
}
