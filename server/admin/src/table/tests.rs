use simplekv_proto::v1;

use super::*;
use crate::report::Picture;
use crate::report::tests::healthy;

fn picture(reply: v1::StatusReply) -> Picture {
    Picture::of(reply).unwrap()
}

#[test]
fn status_shows_the_cluster_at_a_glance() {
    assert_eq!(
        picture(healthy()).status().render(false),
        "\
cluster     abababababababababababababababab
health      healthy
slots       16384 of 16384 served
controller  n1
metadata    reachable

GROUP  LEADER  EPOCH  IN SYNC  REPLICAS  LAG  SLOTS  KEYS    DISK
g1     n1          3  3 of 3   n1,n2,n3    7   8192  1200  3.0MiB
g2     n2          3  3 of 3   n1,n2,n3    7   8192  2400  3.0MiB"
    );
}

#[test]
fn trouble_is_told_with_what_to_do() {
    let mut reply = healthy();
    reply.findings = vec![v1::Finding {
        severity: v1::finding::Severity::Warning as i32,
        subject: "g2".to_owned(),
        message: "n3 is not in sync".to_owned(),
        advice: "start n3".to_owned(),
    }];
    reply.replicas.clear();
    reply.topology.as_mut().unwrap().groups[0].in_sync = vec![1, 2];
    reply.metadata_reachable = false;
    reply.metadata_age_ms = 61_200;
    assert_eq!(
        picture(reply).status().render(false),
        "\
cluster     abababababababababababababababab
health      degraded
slots       16384 of 16384 served
controller  n1
metadata    not reachable for 61s

GROUP  LEADER  EPOCH  IN SYNC  REPLICAS    LAG  SLOTS  KEYS  DISK
g1     n1          3  3 of 3   n1,n2,n3      ?   8192     ?     ?
g2     n2          3  2 of 3   n1,n2,(n3)    ?   8192     ?     ?
warning: g2: n3 is not in sync
  next: start n3"
    );
}

#[test]
fn before_init_the_next_step_is_said() {
    assert_eq!(
        picture(v1::StatusReply::default()).health().render(false),
        "\
unhealthy
critical: cluster: the cluster has not been created yet
  next: simplekv-admin init --groups N --nodes n1-n3"
    );
}

#[test]
fn nodes_show_where_they_are_and_what_they_host() {
    let mut reply = healthy();
    reply.topology.as_mut().unwrap().nodes[2].live = false;
    assert_eq!(
        picture(reply).nodes().render(false),
        "\
NODE  STATE  ZONE  LEADS  FOLLOWS  GRPC            RESP            ADMIN
n1    live   -     g1     g2       127.0.0.1:7410  127.0.0.1:7411  127.0.0.1:7412
n2    live   -     g2     g1       127.0.0.1:7420  127.0.0.1:7421  127.0.0.1:7422
n3    down   -     -      g1,g2    127.0.0.1:7430  127.0.0.1:7431  127.0.0.1:7432"
    );
}

#[test]
fn slots_and_keys_are_shown_with_their_owner() {
    let picture = picture(healthy());
    assert_eq!(
        picture.slots(None).unwrap().render(false),
        "\
SLOTS       COUNT  GROUP  LEADER
0-8191       8192  g1     n1
8192-16383   8192  g2     n2"
    );
    assert_eq!(
        picture.locate("foo").render(false),
        "\
slot    12182
group   g2
leader  n2  (RESP 127.0.0.1:7421, gRPC 127.0.0.1:7420)"
    );
}

#[test]
fn colour_is_only_there_when_wanted() {
    let report = picture(healthy()).health();
    assert_eq!(report.render(false), "healthy");
    assert_eq!(report.render(true), "\u{1b}[32mhealthy\u{1b}[0m");
}

#[test]
fn sizes_are_readable() {
    for (count, shown) in [(0, "0B"), (1023, "1023B"), (1024, "1.0KiB"), (5 << 30, "5.0GiB"), (u64::MAX, "16384.0PiB")]
    {
        assert_eq!(bytes(count), shown);
    }
}
