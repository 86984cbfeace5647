//! `simplekv-cli`: the command line.
//!
//! It speaks the Redis protocol to a router or to a node (whose redirects it follows) and needs no runtime: one command at a time.

mod connection;
mod help;
mod history;
mod line;
mod repl;
mod reply;
mod session;

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;

use connection::Server;
use reply::Style;
use session::{Session, Step};

/// The command line of simplekv. Without a command it opens a prompt, or reads commands from standard input, one a line.
#[derive(Debug, Parser)]
#[command(name = "simplekv-cli", version, disable_help_flag = true)]
struct Args {
    /// Host of the router or node.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// Its Redis protocol port.
    #[arg(short = 'p', long, default_value_t = 7379)]
    port: u16,
    /// Both at once, as host:port.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["host", "port"])]
    server: Option<Server>,
    /// Prints replies as redis-cli does, with their types, instead of in words.
    #[arg(long)]
    raw: bool,
    /// What is printed after each reply when no prompt is shown: "" leaves a value alone with itself.
    #[arg(short = 'D', long, value_name = "TEXT", default_value = "\n", hide_default_value = true)]
    delimiter: String,
    /// How long to wait for an answer, in seconds; 0 for ever.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Prints help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// A command with its arguments: runs it, prints the reply, and exits with 1 if that is an error.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let server = args.server.clone().unwrap_or_else(|| Server::new(&args.host, args.port));
    let style = match (args.raw, std::io::stdout().is_terminal()) {
        (true, _) => Style::Redis,
        (false, true) => Style::Words,
        (false, false) => Style::Exact,
    };
    let patience = (args.timeout > 0).then(|| Duration::from_secs(args.timeout));
    let mut session = Session::new(server, style, patience);
    let outcome = if !args.command.is_empty() {
        let words = args.command.into_iter().map(|word| Bytes::from(word.into_encoded_bytes())).collect();
        run_once(&mut session, words, args.delimiter.as_bytes())
    } else if std::io::stdin().is_terminal() {
        repl::run(&mut session).map(|()| true)
    } else {
        run_lines(&mut session, args.delimiter.as_bytes())
    };
    match outcome {
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

/// Whether the reply was no error.
fn run_once(session: &mut Session, words: Vec<Bytes>, delimiter: &[u8]) -> anyhow::Result<bool> {
    match session.run(&words) {
        Step::Said { mut text, is_error } => {
            text.extend_from_slice(delimiter);
            let mut out = std::io::stdout().lock();
            out.write_all(&text)?;
            out.flush()?;
            Ok(!is_error)
        }
        Step::Clear | Step::Exit => Ok(true),
    }
}

/// Whether no reply was an error.
fn run_lines(session: &mut Session, delimiter: &[u8]) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    let mut all_well = true;
    for line in std::io::stdin().lock().split(b'\n') {
        match session.run_line(&line?) {
            None | Some(Step::Clear) => (),
            Some(Step::Exit) => break,
            Some(Step::Said { mut text, is_error }) => {
                text.extend_from_slice(delimiter);
                out.write_all(&text)?;
                all_well &= !is_error;
            }
        }
    }
    out.flush()?;
    Ok(all_well)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
