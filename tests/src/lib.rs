//! What the end-to-end tests, the demo and the benchmarks share: a lab of network namespaces, an
//! operator who works in it, policies and packets piece by piece, clients and servers.

pub mod draft;
pub mod lab;
pub mod operator;
pub mod packet;
pub mod running;
pub mod traffic;
