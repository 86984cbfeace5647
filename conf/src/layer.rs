//! Laying one source of values over another.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::{Origin, Problem};

/// The defaults with what has been laid over them so far.
pub(crate) struct Overlay {
    defaults: Table,
    /// Invariant: has exactly the sections and keys of the defaults, with values of the same types.
    merged: Table,
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Overlay {
    pub(crate) fn new(defaults: Table) -> Self {
        Self { merged: defaults.clone(), defaults, origins: BTreeMap::new(), problems: Vec::new() }
    }

    pub(crate) fn finish(self) -> (Table, BTreeMap<String, Origin>, Vec<Problem>) {
        (self.merged, self.origins, self.problems)
    }

    pub(crate) fn refuse(&mut self, key: &str, origin: Origin, message: impl Into<String>) {
        self.problems.push(Problem::new(key, origin, message));
    }

    /// Takes back each value that its own field cannot hold, and returns the rest.
    pub(crate) fn settle<T: DeserializeOwned + Default>(&mut self) -> T {
        if let Ok(values) = Value::Table(self.merged.clone()).try_into() {
            return values;
        }
        for (key, origin) in self.origins.clone() {
            let mut alone = self.defaults.clone();
            let (Some(value), Some(place)) = (place(&mut self.merged, &key), place(&mut alone, &key)) else { continue };
            let default = std::mem::replace(place, value.clone());
            if let Err(error) = Value::Table(alone).try_into::<T>() {
                *value = default;
                self.origins.remove(&key);
                self.refuse(&key, origin, error.message());
            }
        }
        // Fields that are fine one by one are fine together: nothing but their own values decides.
        Value::Table(self.merged.clone()).try_into().unwrap_or_default()
    }

    /// Lays a TOML file over everything so far.
    pub(crate) fn file(&mut self, path: &Path) {
        let whole = |line, message: String| Problem::new("", Origin::File(path.to_owned(), line), message);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.problems.push(whole(None, format!("cannot be read: {error}"))),
        };
        let line_of = |at: usize| text.get(..at).map(|before| before.matches('\n').count() + 1);
        let document = match DeTable::parse(&text) {
            Ok(document) => document,
            Err(error) => {
                let line = error.span().and_then(|span| line_of(span.start));
                return self.problems.push(whole(line, error.message().to_owned()));
            }
        };
        for (section, values) in document.get_ref() {
            let name: &str = section.get_ref();
            let line = line_of(section.span().start);
            let DeValue::Table(values) = values.get_ref() else {
                self.problems.push(whole(line, format!("`{name}` stands outside a section")));
                continue;
            };
            if !self.merged.contains_key(name) {
                let hint = nearest(name, self.merged.keys());
                self.problems.push(whole(line, format!("there is no section `{name}`{hint}")));
                continue;
            }
            for (key, value) in values {
                let line = line_of(key.span().start);
                let origin = Origin::File(path.to_owned(), line);
                self.set(&format!("{name}.{}", key.get_ref()), origin, |default| typed(value.get_ref(), default));
            }
        }
    }

    /// Lays one value, given as text, over everything so far.
    pub(crate) fn text(&mut self, key: &str, text: &str, origin: Origin) {
        self.set(key, origin, |default| parsed(text, default));
    }

    fn set(&mut self, key: &str, origin: Origin, value: impl FnOnce(&Value) -> Result<Value, String>) {
        let Some(place) = place(&mut self.merged, key) else {
            let hint = nearest(key, self.known_keys().iter());
            self.problems.push(Problem::new(key, origin, format!("there is no such key{hint}")));
            return;
        };
        match value(place) {
            Ok(value) => {
                *place = value;
                self.origins.insert(key.to_owned(), origin);
            }
            Err(message) => self.problems.push(Problem::new(key, origin, message)),
        }
    }

    fn known_keys(&self) -> Vec<String> {
        let keys = |(section, values): (&String, &Value)| -> Vec<String> {
            values.as_table().into_iter().flatten().map(|(key, _)| format!("{section}.{key}")).collect()
        };
        self.merged.iter().flat_map(keys).collect()
    }
}

fn place<'a>(values: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    let (section, name) = key.split_once('.')?;
    values.get_mut(section)?.get_mut(name)
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a String>) -> String {
    let best = known.max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)));
    best.map_or_else(String::new, |best| format!(", did you mean `{best}`?"))
}

fn expected(default: &Value) -> &'static str {
    match default {
        Value::String(_) => "expected a text",
        Value::Integer(_) => "expected a whole number",
        Value::Float(_) => "expected a number",
        Value::Boolean(_) => "expected true or false",
        Value::Array(_) => "expected a list of texts",
        Value::Datetime(_) | Value::Table(_) => "expected another kind of value",
    }
}

/// A value of a file, if it has the type of the default.
fn typed(value: &DeValue<'_>, default: &Value) -> Result<Value, String> {
    let wrong = || format!("{}, found {}", expected(default), value.type_str());
    match (default, value) {
        (Value::String(_), DeValue::String(text)) => Ok(Value::String(text.to_string())),
        (Value::Boolean(_), DeValue::Boolean(truth)) => Ok(Value::Boolean(*truth)),
        (Value::Integer(_), DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix()).map(Value::Integer).map_err(|error| error.to_string())
        }
        (Value::Float(_), DeValue::Float(number)) => number.as_str().parse().map(Value::Float).map_err(|_| wrong()),
        (Value::Array(_), DeValue::Array(items)) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(Value::String(text.to_string())),
                _ => Err(wrong()),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        _ => Err(wrong()),
    }
}

/// A text from the environment or a flag, read as the type of the default.
fn parsed(text: &str, default: &Value) -> Result<Value, String> {
    let wrong = || format!("{}, found `{text}`", expected(default));
    match default {
        Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| wrong()),
        Value::Float(_) => text.trim().parse().map(Value::Float).map_err(|_| wrong()),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).map_err(|_| wrong()),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        Value::Datetime(_) | Value::Table(_) => Err(wrong()),
    }
}
