//! Every store behaves alike.

use std::sync::Arc;

use simplekv_meta::conformance::run_all;
use simplekv_meta::{EmbeddedOptions, EmbeddedStore};

#[tokio::test(start_paused = true)]
async fn the_embedded_store_in_memory_conforms() {
    run_all(Arc::new(EmbeddedStore::in_memory(EmbeddedOptions::default())), "/conformance").await;
}

#[tokio::test(start_paused = true)]
async fn the_embedded_store_with_a_file_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&dir.path().join("meta"), EmbeddedOptions::default()).unwrap();
    run_all(Arc::new(store), "/conformance").await;
}

#[cfg(feature = "etcd")]
#[tokio::test]
async fn etcd_conforms() {
    use simplekv_meta::testing::EtcdCluster;
    use simplekv_meta::{EtcdOptions, EtcdStore};

    let etcd = EtcdCluster::start(1).await.unwrap_or_else(|error| panic!("{error}"));
    let store = EtcdStore::new(EtcdOptions::new(etcd.endpoints())).unwrap();
    run_all(Arc::new(store), "/conformance").await;
}
