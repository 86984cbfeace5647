//! Generates the contract's Rust from `simplekv/v1/*.proto`, without protoc.

use std::path::PathBuf;

use prost::Message;

const PROTOS: [&str; 5] = [
    "simplekv/v1/data.proto",
    "simplekv/v1/topology.proto",
    "simplekv/v1/replication.proto",
    "simplekv/v1/migration.proto",
    "simplekv/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=simplekv");
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        // Written by hand: every operation passes through them.
        .extern_path(".simplekv.v1.RequestFrame", "crate::frame::RequestFrame")
        .extern_path(".simplekv.v1.ReplyFrame", "crate::frame::ReplyFrame")
        .compile_fds(descriptors)?;
    Ok(())
}
