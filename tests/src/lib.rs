//! What the end-to-end tests, the demo and the benchmarks share: a lab of network namespaces, builders
//! of packets and rules, and the kernel as a judge that must account for what it says.

pub mod assembly;
pub mod differential;
pub mod judge;
pub mod lab;
pub mod packet;
pub mod random;
pub mod raw;
pub mod rules;
pub mod splice;
pub mod traffic;
