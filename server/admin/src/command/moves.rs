//! Jobs that move slots: looked at, followed, and changed.

use std::time::Duration;

use simplekv_proto::v1;
use simplekv_proto::v1::change_job_request::Change;

use crate::args::Migrations;
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::report::moves::{Changed, Job, Jobs};

/// How often a job that is followed is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

pub(super) async fn run(node: &mut Connection, asked: &Migrations, output: &mut Output) -> Result<(), Failure> {
    match asked {
        Migrations::List => output.data(&Jobs::of(node.jobs().await?)),
        Migrations::Show { job } => output.data(&find(node, job).await?),
        Migrations::Watch { job: Some(job) } => follow(node, job, output).await,
        Migrations::Watch { job: None } => match Jobs::of(node.jobs().await?).jobs.pop() {
            Some(latest) => follow(node, &latest.name, output).await,
            None => Err(Failure::precondition(
                "there is no job to watch",
                "order one: see `simplekv-admin rebalance --help`",
            )),
        },
        Migrations::Pause { job } => change(node, job, Change::Pause, output).await,
        Migrations::Resume { job } => change(node, job, Change::Resume, output).await,
        Migrations::Cancel { job } => change(node, job, Change::Cancel, output).await,
    }
}

async fn find(node: &mut Connection, name: &str) -> Result<Job, Failure> {
    let found = Jobs::of(node.jobs().await?).jobs.into_iter().find(|job| job.name == name);
    let what = format!("there is no job {name}");
    found.ok_or_else(|| Failure::precondition(what, "see `simplekv-admin migrations list`"))
}

async fn change(node: &mut Connection, job: &str, change: Change, output: &mut Output) -> Result<(), Failure> {
    node.change_job(v1::ChangeJobRequest { job: job.to_owned(), change: change.into() }).await?;
    let state = match change {
        Change::Pause => "paused",
        Change::Resume => "resumed",
        Change::Cancel => "cancelled",
    };
    output.data(&Changed { job: job.to_owned(), state })
}

/// Tells of a job whenever something about it has changed, until it has ended.
pub(super) async fn follow(node: &mut Connection, name: &str, output: &mut Output) -> Result<(), Failure> {
    output.note(&format!("{name} goes on by itself: Ctrl-C only stops watching it"));
    let mut told: Option<String> = None;
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        let job = find(node, name).await?;
        let line = job.line();
        if job.ended_ms.is_none() && told.as_ref() != Some(&line) {
            output.note(&line);
            told = Some(line);
        }
        if job.ended_ms.is_some() {
            output.data(&job)?;
            return if job.done { Ok(()) } else { Err(not_done(&job)) };
        }
    }
}

fn not_done(job: &Job) -> Failure {
    Failure::new(
        Exit::Error,
        format!("job {} was not carried out: {}", job.name, job.reason),
        format!(
            "{} of {} slots are where they were to be; the others stayed where they were",
            job.slots_done, job.slots_total
        ),
        "see `simplekv-admin slots`, then order what is left",
    )
}
