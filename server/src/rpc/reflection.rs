//! gRPC reflection: what a port has to offer, for tools that ask. In both versions, because many tools know only the older one.

use simplekv_proto::v1::DESCRIPTORS;
use tonic_reflection::pb;
use tonic_reflection::server::{Builder, v1, v1alpha};

/// Reflection itself, as it is listed.
const OWN: [&str; 2] = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// Reflection on a port that serves these: the contract describes more than any one port does.
pub(crate) fn services(
    served: &[&str],
) -> (
    v1::ServerReflectionServer<impl v1::ServerReflection + use<>>,
    v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection + use<>>,
) {
    let newer = builder(served).build_v1().expect("the compiled descriptors are valid");
    let older = builder(served).build_v1alpha().expect("the compiled descriptors are valid");
    (newer, older)
}

fn builder(served: &[&str]) -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false);
    served.iter().chain(&OWN).fold(builder, |builder, name| builder.with_service_name(*name))
}
