//! `simplekv-admin`: what an operator asks of a cluster and tells it.
//!
//! Every command is one conversation with the admin service of any node: arguments become a request, the reply becomes a
//! [`report`], the report becomes a table or a JSON document. Data goes to stdout, everything else to stderr.

mod args;
mod command;
mod connection;
mod failure;
mod output;
mod placement;
mod plan;
mod report;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::output::Output;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors; clap prints each where it belongs.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            return if error.print().is_ok() { exit.into() } else { Exit::Error.into() };
        }
    };
    let mut output = Output::new(args.json, args.no_color);
    match run(&args, &mut output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.fail(&failure);
            failure.exit.into()
        }
    }
}

fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::from_start)?;
    runtime.block_on(async {
        tokio::select! {
            outcome = command::run(args, output) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
        }
    })
}
