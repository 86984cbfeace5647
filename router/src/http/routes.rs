//! Every path there is. No other file makes a route, so that the document can be held against these.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post, put};

use super::{batch, execute, health, keys, kv_store, page};
use crate::shared::Shared;

/// What is served, as OpenAPI: for people, and for programs that make clients of it.
const DOCUMENT: &str = include_str!("openapi.json");

struct Route {
    /// The path as the document has it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the test that compares"))]
    path: &'static str,
    /// The patterns that make it up: a key may be empty, which is answered, and contain slashes.
    patterns: &'static [&'static str],
    methods: MethodRouter<Arc<Shared>>,
}

pub(super) fn router() -> Router<Arc<Shared>> {
    all().into_iter().fold(Router::new(), |router, route| {
        let Route { patterns, methods, .. } = route;
        patterns.iter().fold(router, |router, pattern| router.route(pattern, methods.clone()))
    })
}

fn all() -> Vec<Route> {
    let route = |path, patterns, methods| Route { path, patterns, methods };
    let keys = get(keys::get).put(keys::put).delete(keys::delete);
    let seed_keys = get(kv_store::get).put(kv_store::put).delete(kv_store::delete);
    vec![
        route("/v2/keys/{key}", &["/v2/keys/", "/v2/keys/{*key}"], keys),
        route("/v2/batch", &["/v2/batch"], post(batch::run)),
        route("/v1/execute", &["/v1/execute"], post(execute::run)),
        route("/kv-store/keys/{key}", &["/kv-store/keys/", "/kv-store/keys/{*key}"], seed_keys),
        route("/kv-store/key-count", &["/kv-store/key-count"], get(kv_store::key_count)),
        route("/kv-store/shards", &["/kv-store/shards"], get(kv_store::shards)),
        route("/kv-store/shards/{id}", &["/kv-store/shards/{id}"], get(kv_store::shard)),
        route("/kv-store/view-change", &["/kv-store/view-change"], put(kv_store::view_change)),
        route("/", &["/"], get(page::page)),
        route("/openapi.json", &["/openapi.json"], get(document)),
        route("/metrics", &["/metrics"], get(health::metrics)),
        route("/livez", &["/livez"], get(health::livez)),
        route("/readyz", &["/readyz"], get(health::readyz)),
    ]
}

async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use axum::body::Body;
    use axum::http::Request;
    use serde_json::Value;
    use simplekv_types::FailureCode;
    use tower::ServiceExt;

    use super::*;

    const METHODS: [&str; 8] = ["delete", "get", "head", "options", "patch", "post", "put", "trace"];

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, item)| {
            let item = item.as_object().unwrap().iter();
            item.filter(|(name, _)| METHODS.contains(&name.as_str()))
                .map(move |(name, op)| (path.as_str(), name.as_str(), op))
        });
        operations.collect()
    }

    /// What a path's routes say to a method they do not have.
    async fn methods(route: Route) -> BTreeSet<String> {
        let mut allowed: Option<BTreeSet<String>> = None;
        for pattern in route.patterns {
            let path = pattern.replace("{*key}", "k").replace("{id}", "1");
            let router = axum::Router::new().route(pattern, route.methods.clone());
            let client = simplekv_client::Client::builder().seed("127.0.0.1:1").build_lazy().unwrap();
            let shared = Arc::new(Shared::new(client, crate::Limits::default(), String::new(), 0));
            let request = Request::builder().method("QUERY").uri(path).body(Body::empty()).unwrap();
            let response = router.with_state(shared).oneshot(request).await.unwrap();
            let found = response.headers()[header::ALLOW].to_str().unwrap().to_ascii_lowercase();
            let found = found.split(',').filter(|method| *method != "head").map(str::to_owned).collect();
            assert!(allowed.replace(found).is_none_or(|before| Some(before) == allowed), "{pattern}");
        }
        allowed.unwrap()
    }

    #[tokio::test]
    async fn the_document_names_every_route_and_no_other() {
        let mut served: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for route in all() {
            let path = route.path;
            assert!(served.insert(path, methods(route).await).is_none(), "{path} is there twice");
        }
        let document = document();
        let mut documented: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (path, method, _) in operations(&document) {
            documented.entry(path).or_default().insert(method.to_owned());
        }
        assert_eq!(served, documented);
    }

    #[test]
    fn every_operation_has_a_name_parameters_for_its_path_and_answers() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            let at = format!("{method} {path}");
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{at}");
            assert!(operation["summary"].is_string(), "{at}");
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{at}");
            let named: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
            let shared = document["paths"][path]["parameters"].as_array().into_iter().flatten();
            let own = operation["parameters"].as_array().into_iter().flatten();
            let parameters = shared.chain(own).map(|parameter| resolve(&document, parameter));
            let in_path = parameters.filter(|parameter| parameter["in"] == "path");
            assert_eq!(
                in_path.filter_map(|parameter| parameter["name"].as_str()).collect::<BTreeSet<_>>(),
                named,
                "{at}"
            );
        }
    }

    fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        document.pointer(reference.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    #[test]
    fn every_reference_leads_somewhere_and_everything_shared_is_used() {
        let document = document();
        let (mut open, mut used) = (vec![&document], BTreeSet::new());
        while let Some(value) = open.pop() {
            resolve(&document, value);
            used.extend(value["$ref"].as_str());
            open.extend(value.as_array().into_iter().flatten());
            open.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        }
        for (kind, parts) in document["components"].as_object().unwrap() {
            for name in parts.as_object().unwrap().keys() {
                assert!(used.contains(format!("#/components/{kind}/{name}").as_str()), "{kind}/{name}");
            }
        }
    }

    #[test]
    fn the_document_is_of_this_version_and_names_every_failure() {
        let document = document();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["examples"].as_array().unwrap();
        for code in FailureCode::ALL {
            assert!(codes.iter().any(|known| known == code.told().name), "{code:?}");
        }
    }
}
