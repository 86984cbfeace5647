//! Whoever holds the controller's office elects leaders for groups that cannot do so themselves. Every node stands for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use simplekv_cluster::{
    Controller, ControllerEffect, ControllerEvent, Remains, Timing, TransferOutcome, recover_longest,
};
use simplekv_meta::{ClusterView, ControllerRecord, Freshness, GroupChange, Office, Records, Session};
use simplekv_proto::v1;
use simplekv_proto::v1::replication_client::ReplicationClient;
use simplekv_types::peer::Sender;
use simplekv_types::{Epoch, GroupId, Member, NodeId};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use crate::shared::Shared;
use crate::{clock, host, remains, replicas};

mod jobs;

use jobs::Jobs;

/// The way to this node's controller. Empty while another node holds the office.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    office: Arc<Mutex<Option<mpsc::UnboundedSender<ControllerEvent>>>>,
}

impl Orders {
    /// False if this node does not hold the office.
    pub(crate) fn send(&self, event: ControllerEvent) -> bool {
        self.office.lock().as_ref().is_some_and(|sender| sender.send(event).is_ok())
    }

    fn open(&self) -> mpsc::UnboundedReceiver<ControllerEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.office.lock() = Some(sender);
        receiver
    }

    pub(crate) fn close(&self) {
        *self.office.lock() = None;
    }
}

/// Stands for the office as long as the session lives, and does its work whenever it is held.
pub(crate) async fn stand(shared: Arc<Shared>, records: Records, orders: Orders, me: Sender, session: &Session) {
    let candidate = ControllerRecord { node: me.node, run: me.run };
    let mut views = shared.view_changes();
    loop {
        match records.await_office(session, &candidate, &mut views).await {
            Ok(office) => {
                info!(node = %me.node, created = %office.created, "this node is the controller");
                let inbox = orders.open();
                Term::new(Arc::clone(&shared), records.clone(), office, session.ttl()).work(inbox).await;
                orders.close();
                info!(node = %me.node, "this node is not the controller any more");
            }
            Err(error) => {
                debug!(%error, "the campaign for the controller's office ended");
                return;
            }
        }
    }
}

/// One time in office.
struct Term {
    shared: Arc<Shared>,
    records: Records,
    office: Office,
    controller: Controller,
    jobs: Jobs,
    /// Groups told to the controller, to be able to tell it that one is gone.
    known: BTreeMap<GroupId, simplekv_types::Revision>,
    reachable: bool,
}

impl Term {
    fn new(shared: Arc<Shared>, records: Records, office: Office, session_ttl: Duration) -> Self {
        let controller = Controller::new(Timing { session_ttl, ..Timing::default() });
        let jobs = Jobs::new(records.clone(), office);
        Self { shared, records, office, controller, jobs, known: BTreeMap::new(), reachable: true }
    }

    /// Works until somebody else holds the office.
    async fn work(&mut self, mut inbox: mpsc::UnboundedReceiver<ControllerEvent>) {
        let (outcomes_in, mut outcomes) = mpsc::unbounded_channel();
        let mut views = self.shared.view_changes();
        self.step(ControllerEvent::TookOffice, &outcomes_in);
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            if view.controller.as_ref().is_some_and(|found| found.created > self.office.created) {
                self.step(ControllerEvent::LostOffice, &outcomes_in);
                return;
            }
            self.tell_view(&view, &outcomes_in);
            self.jobs.see(&view);
            loop {
                let deadlines = [self.controller.next_deadline(), self.jobs.next_deadline()];
                let deadline = deadlines.into_iter().flatten().min();
                let wait = deadline.map_or(Duration::from_secs(3600), |deadline| deadline.since(clock::now()));
                tokio::select! {
                    changed = views.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    Some(event) = outcomes.recv() => self.step(event, &outcomes_in),
                    Some(event) = inbox.recv() => self.step(event, &outcomes_in),
                    Some(happened) = self.jobs.next() => self.jobs.on(happened),
                    () = tokio::time::sleep(wait) => {
                        self.step(ControllerEvent::Tick, &outcomes_in);
                        self.jobs.tick();
                    }
                }
            }
        }
    }

    fn tell_view(&mut self, view: &ClusterView, outcomes: &mpsc::UnboundedSender<ControllerEvent>) {
        let reachable = view.freshness == Freshness::Current;
        if reachable && !self.reachable {
            self.step(ControllerEvent::Reconnected, outcomes);
        }
        self.reachable = reachable;
        self.step(ControllerEvent::NodesSeen(replicas::node_facts(view)), outcomes);
        for (&group, found) in &view.groups {
            if self.known.insert(group, found.modified) != Some(found.modified) {
                let record = Some(found.record.clone());
                self.step(ControllerEvent::RecordSeen { group, record, revision: found.modified }, outcomes);
            }
        }
        let gone: Vec<GroupId> = self.known.keys().filter(|group| !view.groups.contains_key(group)).copied().collect();
        for group in gone {
            self.known.remove(&group);
            self.step(ControllerEvent::RecordSeen { group, record: None, revision: view.revision }, outcomes);
        }
    }

    fn step(&mut self, event: ControllerEvent, outcomes: &mpsc::UnboundedSender<ControllerEvent>) {
        self.controller.step(clock::now(), event);
        while let Some(effect) = self.controller.next_effect() {
            match effect {
                ControllerEffect::ChangeGroup { id, group, change } => {
                    info!(%group, epoch = %change.record.epoch, leader = ?change.record.leader.map(|l| l.node), "changing the group's record");
                    let change = GroupChange {
                        group,
                        expected: change.expected,
                        record: change.record,
                        registrations: change.registrations,
                        silent: change.silent,
                        office: Some(self.office),
                    };
                    let (records, outcomes) = (self.records.clone(), outcomes.clone());
                    tokio::spawn(async move {
                        let outcome = host::change_group(&records, &change).await;
                        // Nobody in office any more: whoever follows reads what became of it.
                        let _ = outcomes.send(ControllerEvent::Metadata { id, outcome });
                    });
                }
                ControllerEffect::Inspect { group } => self.inspect(group, outcomes),
                // Operators ask the leader, which can hand over without a pause; nobody asks the controller.
                ControllerEffect::TransferEnded { ticket, outcome } => debug!(ticket, ?outcome, "a transfer ended"),
            }
        }
    }

    /// Looks at what is left of a group. Fruitless if the metadata store cannot be read: the controller asks again.
    fn inspect(&self, group: GroupId, outcomes: &mpsc::UnboundedSender<ControllerEvent>) {
        let (shared, records, outcomes) = (Arc::clone(&self.shared), self.records.clone(), outcomes.clone());
        tokio::spawn(async move {
            let view = match records.load().await {
                Ok(view) => view,
                Err(failure) => {
                    warn!(%group, error = %failure, "what is left of the group cannot be looked at, trying on");
                    return;
                }
            };
            let Some(found) = view.groups.get(&group) else { return };
            let left = remains::of_group(&shared, &view, group, &found.record).await;
            let remains: BTreeMap<NodeId, Remains> =
                left.into_iter().map(|(node, found)| (node, found.remains)).collect();
            if let Err(obstacle) = recover_longest(&found.record, found.modified, &remains) {
                debug!(%group, ?obstacle, "the group has lost all its in-sync replicas and cannot go on by itself yet");
            }
            // Nobody in office any more: whoever follows looks again.
            let _ = outcomes.send(ControllerEvent::Inspected { group, remains });
        });
    }
}

/// Brings a leader's wish to be replaced to the controller. Lost if it cannot be reached: the leader repeats it.
pub(crate) fn request_election(
    shared: &Shared,
    orders: &Orders,
    from: Sender,
    group: GroupId,
    epoch: Epoch,
    unheard: Vec<Member>,
) {
    let Some(controller) = shared.view().controller.as_ref().map(|found| found.record.node) else { return };
    if controller == shared.node() {
        orders.send(ControllerEvent::ElectionRequested { group, epoch, from, unheard });
        return;
    }
    let Some((address, cluster)) = shared.routing().grpc_address(controller).zip(shared.cluster()) else { return };
    let request = v1::ElectionRequest {
        cluster_id: cluster.0.to_be_bytes().to_vec().into(),
        group: group.0,
        epoch: epoch.0,
        from_node: from.node.0,
        from_storage: from.storage.0.to_be_bytes().to_vec().into(),
        from_run: from.run.0,
        unheard: unheard.into_iter().map(v1::Member::from).collect(),
    };
    tokio::spawn(async move {
        let asked = async {
            let mut client =
                ReplicationClient::connect(format!("http://{address}")).await.map_err(|e| e.to_string())?;
            client.request_election(request).await.map_err(|status| status.message().to_owned())
        };
        match tokio::time::timeout(Duration::from_secs(1), asked).await {
            Ok(Ok(_)) => (),
            Ok(Err(reason)) => warn!(%controller, reason, "the controller could not be asked for an election"),
            Err(_) => warn!(%controller, "the controller did not answer the request for an election"),
        }
    });
}

/// Hands a group's leadership over as an operator wishes.
pub(crate) async fn transfer(shared: &Shared, group: GroupId, to: Option<NodeId>) -> Option<TransferOutcome> {
    let hosted = shared.hosted(group)?;
    let (done, outcome) = oneshot::channel();
    hosted.tell(crate::hosted::Order::Transfer { to, done });
    outcome.await.ok()
}
