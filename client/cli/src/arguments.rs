//! What may stand behind the program's name.

use std::time::Duration;

use clap::Parser;

use crate::connection::Server;
use crate::reply::Style;

const AFTER_HELP: &str = "\
Examples:
  simplekv-cli                                  a prompt: TAB completes, `help` and `:help` tell what there is
  simplekv-cli set greeting 'hello world'       one command
  simplekv-cli -x set logo < logo.png           its last argument from standard input
  simplekv-cli -D '' get logo > logo.png        a value byte for byte, and nothing else
  simplekv-cli -r -1 -i 0.5 get visits          again every half second
  simplekv-cli < commands.txt                   commands from a file, one a line
  simplekv-cli --json hgetall user:1 | jq .     replies for programs
  simplekv-cli --pipe < commands.resp           many commands at once; only errors are shown
  simplekv-cli :route user:1                    which nodes have a key, and which of them would answer a read

Exit status: 0 if all went well, 1 if there was an error reply or no reply, 2 if the arguments cannot be.";

/// The command line of simplekv. Without a command it opens a prompt, or reads commands from standard input, one a line.
#[derive(Debug, Parser)]
#[command(name = "simplekv-cli", version, disable_help_flag = true, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Host of the router or node.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// Its Redis protocol port.
    #[arg(short = 'p', long, default_value_t = 7379)]
    port: u16,
    /// Both at once, as host:port.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["host", "port"])]
    server: Option<Server>,
    /// Replies are the plain values, lists one value a line.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Replies look as on redis-cli's prompt, with their types.
    #[arg(long, conflicts_with_all = ["raw", "json"])]
    no_raw: bool,
    /// Each reply is one JSON document on a line of its own. Implies -3 unless -2 is given.
    #[arg(long)]
    pub(crate) json: bool,
    /// Speaks RESP2, in which a map is a list.
    #[arg(short = '2')]
    resp2: bool,
    /// Speaks RESP3, with maps, sets and decimal numbers.
    #[arg(short = '3', conflicts_with = "resp2")]
    resp3: bool,
    /// The command's last argument is what standard input holds.
    #[arg(short = 'x', requires = "command")]
    pub(crate) last_from_input: bool,
    /// Runs the command so many times; -1 for ever.
    #[arg(short = 'r', value_name = "TIMES", default_value = "1", hide_default_value = true, requires = "command")]
    #[arg(allow_hyphen_values = true)]
    pub(crate) repeat: Repeat,
    /// How long to wait between these, in seconds.
    #[arg(short = 'i', value_name = "SECONDS", default_value = "0", hide_default_value = true, value_parser = seconds)]
    pub(crate) interval: Duration,
    /// Sends the commands of standard input without waiting for each reply, then tells how many replies and errors there were. They
    /// are as the protocol writes them, or one a line.
    #[arg(long, conflicts_with_all = ["command", "last_from_input"])]
    pub(crate) pipe: bool,
    /// What is printed after each reply when no prompt is shown: "" leaves a value alone with itself.
    #[arg(short = 'D', long, value_name = "TEXT", default_value = "\n", hide_default_value = true)]
    pub(crate) delimiter: String,
    /// How long to wait for an answer, in seconds; 0 for ever. Commands that wait by themselves, like BLPOP, are waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Prints help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// A command with its arguments: runs it, prints the reply, and exits with 1 if that is an error.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

impl Args {
    /// Whom to talk to.
    pub(crate) fn server(&self) -> Server {
        self.server.clone().unwrap_or_else(|| Server::new(&self.host, self.port))
    }

    /// How replies are to look.
    pub(crate) fn style(&self, is_terminal: bool) -> Style {
        match (self.json, self.raw, self.no_raw) {
            (true, ..) => Style::Json,
            (_, true, _) => Style::Raw,
            (_, _, true) => Style::Redis,
            _ if is_terminal => Style::Words,
            _ => Style::Exact,
        }
    }

    /// Whether to speak RESP3.
    pub(crate) fn speaks_resp3(&self) -> bool {
        self.resp3 || self.json && !self.resp2
    }

    /// How long to wait for an answer; `None` for ever.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (self.timeout > 0).then(|| Duration::from_secs(self.timeout))
    }
}

/// How often a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Times(u64),
    ForEver,
}

impl std::str::FromStr for Repeat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(-1) => Ok(Self::ForEver),
            Ok(times) => u64::try_from(times).map(Self::Times).map_err(|_| NOT_TIMES),
            Err(_) => Err(NOT_TIMES),
        }
    }
}

const NOT_TIMES: &str = "expected a number of times, or -1 for ever";

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number of seconds, like 0.5".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<Args, clap::error::ErrorKind> {
        let words = std::iter::once("simplekv-cli").chain(args.split_whitespace());
        Args::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn what_follows_the_command_is_the_commands() {
        let args = parsed("--json -r -1 -i 0.5 set k --json -x").unwrap();
        assert_eq!(args.command, ["set", "k", "--json", "-x"]);
        assert_eq!((args.repeat, args.interval), (Repeat::ForEver, Duration::from_millis(500)));
        assert!(args.json && !args.last_from_input && args.speaks_resp3());
    }

    #[test]
    fn the_look_of_replies_depends_on_who_reads_them() {
        for (args, terminal, other) in [
            ("", Style::Words, Style::Exact),
            ("--raw", Style::Raw, Style::Raw),
            ("--no-raw", Style::Redis, Style::Redis),
            ("--json", Style::Json, Style::Json),
        ] {
            let args = parsed(args).unwrap();
            assert_eq!((args.style(true), args.style(false)), (terminal, other), "{args:?}");
        }
        assert!(!parsed("--json -2").unwrap().speaks_resp3());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use clap::error::ErrorKind;
        for (args, kind) in [
            ("--json --raw get k", ErrorKind::ArgumentConflict),
            ("--pipe get k", ErrorKind::ArgumentConflict),
            ("-x", ErrorKind::MissingRequiredArgument),
            ("-r 2", ErrorKind::MissingRequiredArgument),
            ("-r -2 get k", ErrorKind::ValueValidation),
            ("-i soon get k", ErrorKind::ValueValidation),
            ("--server nowhere get k", ErrorKind::ValueValidation),
        ] {
            assert_eq!(parsed(args).unwrap_err(), kind, "{args}");
        }
    }
}
