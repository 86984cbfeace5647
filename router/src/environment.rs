//! Environment variables of the causal key-value store whose API this router serves under `/kv-store`.
//!
//! Its containers are started with ADDRESS, PORT, VIEW and REPL_FACTOR, and with nothing else. A router takes them for its own keys, so
//! that the same command starts it. Their names are everybody's (PORT, VIEW), so they mean nothing here unless REPL_FACTOR is among
//! them, which is nobody else's; then all are needed, as they were.

use std::ffi::OsString;

/// What the original cannot start without.
const NAMES: [&str; 4] = ["ADDRESS", "PORT", "VIEW", "REPL_FACTOR"];

/// Why these variables cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {name}: {reason}")]
pub struct BadVariable {
    name: &'static str,
    reason: String,
}

fn bad<T>(name: &'static str, reason: impl Into<String>) -> Result<T, BadVariable> {
    Err(BadVariable { name, reason: reason.into() })
}

/// The environment with what these variables mean in front, so that the router's own have the last word.
///
/// # Errors
/// [`BadVariable`] if REPL_FACTOR is set and one of them is missing or cannot be taken.
pub fn translated(environment: Vec<(OsString, OsString)>) -> Result<Vec<(OsString, OsString)>, BadVariable> {
    let value = |name: &str| {
        let found = environment.iter().find(|(known, _)| known.to_str() == Some(name));
        found.map(|(_, value)| value.to_string_lossy().trim().to_owned())
    };
    if value("REPL_FACTOR").is_none() {
        return Ok(environment);
    }
    let mut values = Vec::new();
    for name in NAMES {
        match value(name).filter(|value| !value.is_empty()) {
            Some(value) => values.push(value),
            None => {
                return bad(name, "is not set, and the others are: ADDRESS, PORT, VIEW and REPL_FACTOR go together");
            }
        }
    }
    let [address, port, view, factor] = &values[..] else { unreachable!("one value for each name") };
    let http = listen(port)?;
    check_factor(factor)?;
    let seeds = seeds(view, address)?;
    let meant = [("SIMPLEKV_LISTEN__HTTP", http), ("SIMPLEKV_CLUSTER__SEEDS", seeds)];
    Ok(meant.map(|(name, value)| (name.into(), value.into())).into_iter().chain(environment).collect())
}

/// On all interfaces, as the original.
fn listen(port: &str) -> Result<String, BadVariable> {
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(format!("0.0.0.0:{port}")),
        _ => bad("PORT", format!("expected the port for HTTP, found `{port}`")),
    }
}

/// How many replicas a group has is not a router's to say.
fn check_factor(factor: &str) -> Result<(), BadVariable> {
    match factor.parse::<u32>() {
        Ok(factor) if factor > 0 => Ok(()),
        _ => bad("REPL_FACTOR", format!("expected a number of replicas, found `{factor}`")),
    }
}

/// The view without this router, which is no node.
fn seeds(view: &str, address: &str) -> Result<String, BadVariable> {
    let members: Vec<&str> = view.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
    let is_place = |member: &&str| {
        member.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
    };
    if let Some(member) = members.iter().find(|member| !is_place(member)) {
        return bad("VIEW", format!("expected gRPC addresses of nodes, as host:port, found `{member}`"));
    }
    let nodes: Vec<&str> = members.into_iter().filter(|member| *member != address).collect();
    if nodes.is_empty() {
        return bad("VIEW", "names nobody but ADDRESS: a router holds no keys and needs nodes that do");
    }
    Ok(nodes.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [(&str, &str); 4] = [
        ("ADDRESS", "10.10.0.2:13800"),
        ("PORT", "13800"),
        ("VIEW", "10.10.0.2:13800,10.10.0.3:7410,10.10.0.4:7410"),
        ("REPL_FACTOR", "2"),
    ];

    fn with(changes: &[(&str, &str)]) -> Result<Vec<(OsString, OsString)>, BadVariable> {
        let mut pairs = SEED.to_vec();
        for (name, value) in changes {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name, value));
        }
        translated(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    #[test]
    fn the_originals_variables_start_a_router() {
        let environment = with(&[("SIMPLEKV_LISTEN__HTTP", "127.0.0.1:1")]).unwrap();
        let known = |name: &str| -> Vec<&str> {
            environment.iter().filter(|(found, _)| found == name).filter_map(|(_, value)| value.to_str()).collect()
        };
        assert_eq!(known("SIMPLEKV_CLUSTER__SEEDS"), ["10.10.0.3:7410,10.10.0.4:7410"]);
        assert_eq!(known("SIMPLEKV_LISTEN__HTTP"), ["0.0.0.0:13800", "127.0.0.1:1"], "the last one counts");
    }

    #[test]
    fn common_names_alone_mean_nothing() {
        let pairs = [("PORT", "3000"), ("VIEW", "vim"), ("ADDRESS", "?")];
        let environment: Vec<(OsString, OsString)> = pairs.map(|(n, v)| (n.into(), v.into())).to_vec();
        assert_eq!(translated(environment.clone()), Ok(environment));
    }

    #[test]
    fn what_cannot_be_taken_is_refused_by_name() {
        for (name, value) in [
            ("PORT", "http"),
            ("PORT", ""),
            ("VIEW", "10.10.0.2:13800"),
            ("VIEW", "10.10.0.3"),
            ("VIEW", ","),
            ("REPL_FACTOR", "0"),
            ("REPL_FACTOR", ""),
            ("ADDRESS", ""),
        ] {
            assert_eq!(with(&[(name, value)]).unwrap_err().name, name, "{name}={value}");
        }
    }
}
