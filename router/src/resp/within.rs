//! What of a transaction is not about data.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use simplekv_resp::{Answer, Control, Session, Transaction};
use simplekv_types::{Failure, Reply};

use crate::error;
use crate::facts::RouterFacts;
use crate::shared::Shared;

pub(super) const NOT_THROUGH_A_ROUTER: Failure =
    Failure::command("ERR this command is not supported through the router");

/// What it takes to answer the commands of a transaction that are not about data.
pub(super) struct Within {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Mutex<Session>>,
}

impl Within {
    /// Answers EXEC, when it is known whether anything is done.
    pub(super) async fn conclude(
        self,
        client: simplekv_client::Session,
        mut transaction: Transaction,
        done: Reply,
    ) -> Reply {
        if !matches!(done, Reply::Array(_)) {
            return transaction.conclude(done);
        }
        let mut heard = VecDeque::new();
        for (naming, channel, message) in transaction.publications() {
            let heard_by = client.publish(naming, channel.clone(), message.clone()).await;
            heard.push_back(heard_by.map_or_else(error::reply, |by| Reply::Int(i64::try_from(by).unwrap_or(i64::MAX))));
        }
        transaction.answer(|control| match control {
            Control::Publish { .. } => heard.pop_front().unwrap_or(Reply::Null),
            control => self.answer(control),
        });
        transaction.conclude(done)
    }

    fn answer(&self, control: &Control) -> Reply {
        let facts = RouterFacts { shared: &self.shared };
        let answer = self.session.lock().answer(control, &facts);
        match answer {
            Answer::Reply(reply) | Answer::Close(reply) => reply,
            Answer::NotMine if matches!(control, Control::Wait(_)) => followers_in_sync(&self.shared),
            Answer::NotMine => NOT_THROUGH_A_ROUTER.into(),
        }
    }
}

/// In the group that has fewest of them.
pub(super) fn followers_in_sync(shared: &Shared) -> Reply {
    let followers = shared.topology().groups().iter().map(|group| group.in_sync.len()).min();
    let followers = followers.unwrap_or(0).saturating_sub(1);
    Reply::Int(i64::try_from(followers).unwrap_or(i64::MAX))
}
