//! What was typed, kept in a file; lines with passwords are not.

use std::path::PathBuf;

use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, ReedlineError, ReedlineErrorVariants,
    Result, SearchQuery,
};

use crate::line;

const LINES_MAX: usize = 1000;

/// A history that does not keep secrets: it lets go of them.
pub(crate) struct Discreet(FileBackedHistory);

impl Discreet {
    /// The history in the user's state directory; in memory if there is none or it cannot be written.
    pub(crate) fn open() -> Result<Self> {
        let file = file(std::env::var_os("XDG_STATE_HOME").map(PathBuf::from), std::env::home_dir());
        let on_disk = file.and_then(|file| FileBackedHistory::with_file(LINES_MAX, file).ok());
        Ok(Self(match on_disk {
            Some(history) => history,
            None => FileBackedHistory::new(LINES_MAX)?,
        }))
    }
}

fn file(state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let state = state.filter(|path| path.is_absolute()).or_else(|| Some(home?.join(".local/state")))?;
    Some(state.join("simplekv").join("history"))
}

impl History for Discreet {
    fn save(&mut self, item: HistoryItem) -> Result<HistoryItem> {
        if line::is_secret(&item.command_line) {
            return Err(ReedlineError(ReedlineErrorVariants::OtherHistoryError("a line with a password is not kept")));
        }
        self.0.save(item)
    }

    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.0.load(id)
    }

    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.0.count(query)
    }

    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.0.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> Result<()> {
        self.0.update(id, updater)
    }

    fn clear(&mut self) -> Result<()> {
        self.0.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.0.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.0.session()
    }
}

#[cfg(test)]
mod tests {
    use reedline::SearchDirection;

    use super::*;

    #[test]
    fn passwords_do_not_reach_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(Some(directory.path().to_owned()), None).unwrap();
        let mut history = Discreet(FileBackedHistory::with_file(LINES_MAX, path.clone()).unwrap());
        for line in ["set a 1", "AUTH secret", "get a"] {
            // The error is how the editor learns that the line is not kept.
            let _ = history.save(HistoryItem::from_command_line(line));
        }
        history.sync().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "set a 1\nget a\n");
        assert_eq!(history.search(SearchQuery::everything(SearchDirection::Forward, None)).unwrap().len(), 2);
    }

    #[test]
    fn the_file_is_in_the_state_directory() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(file(path("/state"), path("/home/me")), path("/state/simplekv/history"));
        assert_eq!(file(None, path("/home/me")), path("/home/me/.local/state/simplekv/history"));
        assert_eq!(file(path("not/absolute"), path("/home/me")), path("/home/me/.local/state/simplekv/history"));
        assert_eq!(file(None, None), None);
    }
}
