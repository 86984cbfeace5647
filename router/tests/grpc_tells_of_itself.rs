//! What the gRPC port says beside answering calls: its services, its health, and what pages in browsers may do.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

mod harness;

use std::time::Duration;

use harness::mock_cluster::{MockCluster, key_of_group};
use harness::{config, grpc, http, router};
use prost::Message;
use simplekv_client::Client;
use simplekv_proto::v1;
use simplekv_router::{Router, RouterConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb;

/// Longer than anything takes, shorter than whoever waits for a test.
const LONG: Duration = Duration::from_secs(60);

/// What reflection answers in one of its versions: the services there are, and the files of some of them.
macro_rules! reflected {
    ($version:ident, $channel:expr) => {{
        use pb::$version::server_reflection_client::ServerReflectionClient;
        use pb::$version::server_reflection_request::MessageRequest;
        use pb::$version::server_reflection_response::MessageResponse;
        let questions = [
            MessageRequest::ListServices(String::new()),
            MessageRequest::FileContainingSymbol("simplekv.v1.Kv".to_owned()),
            MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned()),
        ];
        let questions = questions.map(|question| pb::$version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(question),
        });
        let mut client = ServerReflectionClient::new($channel);
        let answers = client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap();
        let mut answers = answers.into_inner();
        let (mut services, mut files) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.message().await.unwrap() {
            match answer.message_response {
                Some(MessageResponse::ListServicesResponse(listed)) => {
                    services.extend(listed.service.into_iter().map(|service| service.name));
                }
                Some(MessageResponse::FileDescriptorResponse(found)) => files.extend(found.file_descriptor_proto),
                other => panic!("{other:?}"),
            }
        }
        (services, files)
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_reflection_tell_what_is_served() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let channel = grpc::channel(&router).await;
    for (services, files) in [reflected!(v1, channel.clone()), reflected!(v1alpha, channel.clone())] {
        assert_eq!(
            services,
            [
                "simplekv.v1.Kv",
                "simplekv.v1.Topology",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection"
            ]
        );
        let is_in = |file: &[u8], name: &str| file.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(is_in(&files[0], "simplekv/v1/data.proto") && is_in(&files[0], "ExecuteRequest"));
        assert!(is_in(&files[1], "HealthCheckRequest"));
    }
    let mut lanes = v1::data_client::DataClient::new(channel);
    let refused = lanes.call(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("a router serves simplekv.v1.Kv"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_what_the_router_knows() {
    let mut cluster = MockCluster::start(1, &[&[1]]);
    cluster.kill(1);
    let router = router(&cluster).await;
    let mut health = HealthClient::new(grpc::channel(&router).await);
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "simplekv.v1.Kv"] {
        assert_eq!(health.check(of(service)).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    }
    assert_eq!(health.check(of("simplekv.v1.Data")).await.unwrap_err().code(), Code::NotFound);

    let mut watched = health.watch(of("simplekv.v1.Kv")).await.unwrap().into_inner();
    let mut unknown = health.watch(of("simplekv.v1.Data")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    cluster.restart(1);
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(health.check(of("")).await.unwrap().into_inner().status(), ServingStatus::Serving);
    cluster.change(|topology| topology.slots[0].last = 1000);
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    cluster.change(|topology| topology.slots[0].last = 16383);
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let stopping = tokio::spawn(router.shutdown());
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watched.message().await.unwrap().is_none(), "nobody who watches holds up the end");
    assert!(unknown.message().await.unwrap().is_none());
    tokio::time::timeout(LONG, stopping).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn smart_clients_find_the_nodes_through_it() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    router.client().topology().wait_for(|topology| !topology.is_unknown()).await.unwrap();
    let client = Client::connect(format!("simplekv://{}", router.grpc_address().unwrap())).await.unwrap();
    for group in [1, 2] {
        client.set(key_of_group(group, 2, 0), "v").await.unwrap();
    }
    let mut topology = v1::topology_client::TopologyClient::new(grpc::channel(&router).await);
    let told = topology.get(v1::GetTopologyRequest {}).await.unwrap().into_inner();
    let mut known = cluster.world.topology.borrow().clone();
    // Time goes on.
    known.groups.iter_mut().zip(&told.groups).for_each(|(group, told)| group.group_time = told.group_time);
    assert_eq!(told, known);

    let mut changes = topology
        .watch(v1::WatchTopologyRequest { version: told.version, differences: false })
        .await
        .unwrap()
        .into_inner();
    let same = changes.message().await.unwrap().unwrap();
    assert!(same.unchanged && same.version == told.version, "who has it need not be told: {same:?}");
    cluster.elect(1, 2);
    let news = async {
        loop {
            let change = changes.message().await.unwrap().unwrap();
            if !change.unchanged {
                return change;
            }
        }
    };
    let change = tokio::time::timeout(LONG, news).await.unwrap();
    assert_eq!((change.version, change.groups[0].leader, change.groups[0].epoch), (told.version + 1, 2, 2));
    let stopping = tokio::spawn(router.shutdown());
    while changes.message().await.unwrap().is_some() {}
    tokio::time::timeout(LONG, stopping).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_call_over_plain_http() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let written = grpc::web(&router, "Set", &[], &grpc::set("k", &b"\0\xff\r\n"[..])).await;
    assert_eq!((written.http, written.status), (200, Some(0)), "{written:?}");
    assert_eq!(written.header("content-type"), Some("application/grpc-web+proto"));
    let got = grpc::web(&router, "Get", &[], &grpc::get("k")).await;
    let value = v1::GetReply::decode(got.message.unwrap()).unwrap();
    assert!(value.found && value.value == b"\0\xff\r\n"[..]);
    let refused = grpc::web(&router, "Execute", &[], &grpc::execute("NOSUCH k")).await;
    assert_eq!((refused.http, refused.status), (200, Some(Code::InvalidArgument as i32)), "{refused:?}");
    assert!(refused.header("grpc-message").unwrap().contains("unknown%20command"), "{refused:?}");
    let plain = grpc::http1(&router, "GET", "Get", &[], b"").await;
    assert_eq!((plain.http, plain.status), (400, None), "nothing but gRPC is spoken here");
    let metrics = http::ask(&router, "GET /metrics", b"").await.text();
    assert!(metrics.contains("simplekv_router_grpc_calls_total 3\n"), "{metrics}");
    assert!(metrics.contains("simplekv_router_grpc_errors_total 0\n"), "{metrics}");
}

/// The origin that a browser is told may call, asked before the call and with it.
async fn allowed(router: &Router, origin: &str) -> [Option<String>; 2] {
    let before = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-grpc-web,grpc-timeout"),
    ];
    let asked = grpc::http1(router, "OPTIONS", "Get", &before, b"").await;
    let called = grpc::web(router, "Get", &[("origin", origin)], &grpc::get("k")).await;
    assert_eq!(called.status, Some(0), "whether a page sees the answer is the browser's business");
    if let Some(headers) = asked.header("access-control-allow-headers") {
        assert_eq!(headers, "content-type,x-grpc-web,grpc-timeout");
        let exposed = called.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("grpc-status") && exposed.contains("grpc-message"), "{exposed}");
    }
    [asked, called].map(|reply| reply.header("access-control-allow-origin").map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_call_only_if_they_may() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let with = async |origins: &[&str]| {
        let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        Router::start(RouterConfig { origins, ..config(&cluster) }).await.unwrap()
    };
    let both = |origin: &str| [Some(origin.to_owned()), Some(origin.to_owned())];
    let (shop, other) = ("https://shop.example", "https://other.example");
    assert_eq!(allowed(&with(&[]).await, shop).await, [None, None]);
    let some = with(&[shop, "http://localhost:3000"]).await;
    assert_eq!(allowed(&some, shop).await, both(shop));
    assert_eq!(allowed(&some, other).await, [None, None]);
    assert_eq!(allowed(&with(&["*"]).await, other).await, both("*"));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_call_is_waited_for_only_so_long() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let mut config = config(&cluster);
    config.limits.partial_request_timeout = Duration::from_millis(200);
    let router = Router::start(config).await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(router.grpc_address().unwrap()).await.unwrap();
    let head = "POST /simplekv.v1.Kv/Get HTTP/1.1\r\nhost: h\r\ncontent-type: application/grpc-web\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[0, 0, 0, 0, 95]).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("it is closed");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains(&format!("grpc-status: {}\r\n", Code::DeadlineExceeded as i32)), "{answer}");
    assert!(cluster.seen().is_empty());
}
