//! Where words go: data to stdout, the rest to stderr.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// The terminal or pipe a command writes to.
pub(crate) struct Output {
    json: bool,
    color: bool,
}

/// What a command found out, in both of its forms.
pub(crate) trait Render: Serialize {
    /// For people, without a line end.
    fn render(&self, color: bool) -> String;
}

impl Output {
    pub(crate) fn new(json: bool, no_color: bool) -> Self {
        let wanted = !no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, color: wanted && io::stdout().is_terminal() }
    }

    /// Prints a command's whole answer.
    pub(crate) fn data<R: Render>(&mut self, report: &R) -> Result<(), Failure> {
        self.print(report, false)
    }

    /// Prints one answer of many: in JSON one document a line.
    pub(crate) fn next<R: Render>(&mut self, report: &R) -> Result<(), Failure> {
        self.print(report, true)
    }

    /// Tells a person what happens meanwhile.
    pub(crate) fn note(&mut self, line: &str) {
        // Nobody is left to hear about a closed stderr.
        let _ = writeln!(io::stderr(), "{line}");
    }

    pub(crate) fn fail(&mut self, failure: &Failure) {
        let Failure { what, now, next, .. } = failure;
        self.note(&format!("error: {what}\n  now:  {now}\n  next: {next}"));
    }

    fn print<R: Render>(&mut self, report: &R, one_line: bool) -> Result<(), Failure> {
        let text = match (self.json, one_line) {
            (false, _) => report.render(self.color),
            (true, true) => serde_json::to_string(report).map_err(Failure::malformed)?,
            (true, false) => serde_json::to_string_pretty(report).map_err(Failure::malformed)?,
        };
        match writeln!(io::stdout(), "{text}") {
            Ok(()) => Ok(()),
            // `simplekv-admin slots | head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::unprinted(&error)),
        }
    }
}
