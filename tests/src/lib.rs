//! What the end-to-end tests, the demo and the benchmarks share: a lab of network namespaces and a
//! builder of packets.

pub mod lab;
pub mod packet;
pub mod traffic;
