//! Whether the cluster is well, once or until it is.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use super::look;
use crate::args::{Args, Health as HealthArgs};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::report::{Health, HealthReport};

/// How often a watched cluster is looked at.
const PERIOD: Duration = Duration::from_millis(500);

pub(super) async fn run(args: &Args, wanted: &HealthArgs, output: &mut Output) -> Result<Exit, Failure> {
    if !wanted.watch && !wanted.exit_when_healthy {
        let report = ask(args, args.timeout).await?;
        output.data(&report)?;
        return Ok(if report.health == Health::Healthy { Exit::Ok } else { Exit::Unhealthy });
    }
    // Only waiting for an end has a limit: a watch without one goes on until it is interrupted.
    let limit = args.timeout.filter(|_| wanted.exit_when_healthy);
    match limit {
        None => watch(args, wanted, output).await,
        Some(limit) => match timeout_at(Instant::now() + limit, watch(args, wanted, output)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::new(
                Exit::TimedOut,
                format!("the cluster was not healthy within {limit:?}"),
                "nothing was changed; the cluster may still become healthy",
                "see what is missing with `simplekv-admin status`, or wait longer with --timeout",
            )),
        },
    }
}

/// Looks again and again, and prints what is new. A cluster that cannot be reached may be one that is just starting.
async fn watch(args: &Args, wanted: &HealthArgs, output: &mut Output) -> Result<Exit, Failure> {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<Result<HealthReport, Failure>> = None;
    loop {
        period.tick().await;
        let looked = ask(args, None).await;
        if let Err(failure) = &looked
            && failure.exit == Exit::Usage
        {
            return Err(failure.clone());
        }
        let healthy = looked.as_ref().is_ok_and(|report| report.health == Health::Healthy);
        if last.as_ref() != Some(&looked) {
            match &looked {
                Ok(report) if wanted.watch || healthy => output.next(report)?,
                Ok(report) => output.note(&describe(report)),
                Err(failure) => output.note(&failure.what),
            }
        }
        if healthy && wanted.exit_when_healthy {
            return Ok(Exit::Ok);
        }
        last = Some(looked);
    }
}

fn describe(report: &HealthReport) -> String {
    use crate::output::Render;
    report.render(false)
}

async fn ask(args: &Args, timeout: Option<Duration>) -> Result<HealthReport, Failure> {
    let mut node = Connection::open(&args.server, timeout).await?;
    Ok(look(&mut node).await?.health())
}
