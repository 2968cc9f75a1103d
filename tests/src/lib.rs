//! What the end-to-end tests, the demo and the benchmarks share: a lab of network namespaces, builders
//! of packets and rules, and the kernel as a judge that must account for what it says.

//! What the end-to-end tests, the demo and the benchmarks share: a lab of network namespaces, an
//! operator who works in it, policies and packets piece by piece, clients and servers.

pub mod assembly;
pub mod differential;
pub mod draft;
pub mod judge;
pub mod lab;
pub mod operator;
pub mod packet;
pub mod random;
pub mod raw;
pub mod rules;
pub mod running;
pub mod splice;
pub mod traffic;
