//! What a request brings: a value and a context, in its body or beside it.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;
use simplekv_client::SessionToken;

use super::answer::Trouble;
use super::context;
use crate::http::keys::body;
use crate::http::{query, session};

const CONTEXT: HeaderName = HeaderName::from_static("x-causal-context");

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) value: Option<String>,
    /// All that was brought, together: many programs and proxies drop the body of a GET or a DELETE, so there are other ways.
    pub(super) context: SessionToken,
}

/// Reads a request, whatever type its body claims to have: the original does not look.
pub(super) async fn read(request: Request) -> Result<Input, Trouble> {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let body = body(request).await.map_err(|problem| match problem.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Trouble::TOO_LARGE,
        _ => Trouble::NOT_PARSED,
    })?;
    understand(&uri, &headers, &body).ok_or(Trouble::NOT_PARSED)
}

fn understand(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Option<Input> {
    #[derive(Default, Deserialize)]
    struct Body {
        value: Option<String>,
        #[serde(rename = "causal-context", default)]
        context: Value,
    }
    // What comes behind the first JSON value is left unread, as the original leaves it.
    let first = serde_json::Deserializer::from_slice(body).into_iter::<Option<Body>>().next();
    let Body { value, context } = first.transpose().ok()?.flatten().unwrap_or_default();
    let mut context = context::read(&context)?;
    for pair in uri.query().unwrap_or_default().split('&') {
        if let Some(escaped) = pair.strip_prefix("causal-context=") {
            context.merge(&context::read_text(&query::text(escaped)?)?);
        }
    }
    for header in headers.get_all(CONTEXT) {
        context.merge(&context::read_text(header.to_str().ok()?)?);
    }
    context.merge(&session::token(headers).ok()?);
    Some(Input { value, context })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, headers: &[(&'static str, &'static str)], body: &str) -> Option<Input> {
        let uri = format!("/kv-store/keys/x{query}").parse().unwrap();
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        understand(&uri, &headers.collect(), body.as_bytes())
    }

    #[test]
    fn all_that_is_brought_counts() {
        let headers = [("x-causal-context", r#"{"g2":2,"g2.epoch":1}"#), ("x-simplekv-session", "s1-g3.0.0.1.3")];
        let body = r#"{"value":"v","causal-context":{"g1":1,"g1.epoch":1},"more":[1]} and so on"#;
        let input = read("?causal-context=%7B%22g1%22%3A+5%2C%22g1.epoch%22%3A1%7D&x=y", &headers, body).unwrap();
        assert_eq!(input.value.as_deref(), Some("v"));
        assert_eq!(input.context.to_string(), "s1-g1.0.0.1.5-g2.0.0.1.2-g3.0.0.1.3");
    }

    #[test]
    fn nothing_is_nothing() {
        for body in ["", "null", "{}", r#"{"value":null,"causal-context":null}"#] {
            assert_eq!(read("", &[], body), Some(Input::default()), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for body in ["{", "[]", "1", r#"{"value":1}"#, r#"{"causal-context":[]}"#, "\u{1}"] {
            assert_eq!(read("", &[], body), None, "{body}");
        }
        assert_eq!(read("?causal-context=%zz", &[], ""), None);
        assert_eq!(read("", &[("x-causal-context", "x")], ""), None);
    }
}
