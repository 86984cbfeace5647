//! `simplekv-cli`: the command line.
//!
//! It speaks the Redis protocol to a router or to a node (whose redirects it follows) and needs no runtime: one command at a time, or
//! many in a pipe.

mod arguments;
mod completion;
mod connection;
mod directive;
mod help;
mod history;
mod json;
mod line;
mod notation;
mod pipe;
mod repl;
mod reply;
mod route;
mod session;

use std::io::{BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Parser;

use arguments::{Args, Repeat};
use session::{Session, Step};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads our output has had enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "simplekv-cli: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
fn run(args: &Args) -> anyhow::Result<bool> {
    if args.pipe {
        let report = pipe::run(&args.server(), args.patience(), std::io::stdin(), &mut std::io::stderr())?;
        writeln!(std::io::stdout(), "{}", if args.json { report.json() } else { report.to_string() })?;
        return Ok(report.is_well());
    }
    let style = args.style(std::io::stdout().is_terminal());
    let mut session = Session::new(args.server(), style, args.speaks_resp3(), args.patience());
    if !args.command.is_empty() {
        run_command(&mut session, args)
    } else if std::io::stdin().is_terminal() {
        repl::run(&mut session).map(|()| true)
    } else {
        run_lines(&mut session, args.delimiter.as_bytes())
    }
}

/// Runs one command, as often as is asked for. Whether no reply was an error.
fn run_command(session: &mut Session, args: &Args) -> anyhow::Result<bool> {
    let mut words: Vec<Bytes> =
        args.command.iter().map(|word| Bytes::copy_from_slice(word.as_encoded_bytes())).collect();
    if args.last_from_input {
        let mut last = Vec::new();
        std::io::stdin().lock().read_to_end(&mut last)?;
        words.push(last.into());
    }
    let mut left = args.repeat;
    let mut all_well = true;
    loop {
        left = match left {
            Repeat::Times(0) => return Ok(all_well),
            Repeat::Times(times) => Repeat::Times(times - 1),
            Repeat::ForEver => Repeat::ForEver,
        };
        let step = session.run(&words);
        all_well &= say(session, step, args.delimiter.as_bytes())?.unwrap_or(true);
        if left != Repeat::Times(0) {
            std::thread::sleep(args.interval);
        }
    }
}

/// Whether no reply was an error.
fn run_lines(session: &mut Session, delimiter: &[u8]) -> anyhow::Result<bool> {
    let mut all_well = true;
    for line in std::io::stdin().lock().split(b'\n') {
        let Some(step) = session.run_line(&line?) else { continue };
        match say(session, step, delimiter)? {
            None => break,
            Some(is_well) => all_well &= is_well,
        }
    }
    Ok(all_well)
}

/// Prints what is to be said. Whether it was no error; `None` if nothing more is to be done.
fn say(session: &mut Session, step: Step, delimiter: &[u8]) -> anyhow::Result<Option<bool>> {
    let mut out = std::io::stdout().lock();
    match step {
        Step::Clear => Ok(Some(true)),
        Step::Exit => Ok(None),
        Step::Said { mut text, is_error } => {
            text.extend_from_slice(delimiter);
            out.write_all(&text)?;
            out.flush()?;
            Ok(Some(!is_error))
        }
        Step::Listening { text } => {
            session.listen(text, delimiter, &mut out)?;
            Ok(Some(false))
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
