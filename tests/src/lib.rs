//! What the end-to-end tests, the demo and the benchmarks share: a lab of network namespaces, an
//! operator who works in it, builders of policies, rules and packets, clients and servers, and the
//! kernel as a judge that must account for what it says.

pub mod assembly;
pub mod denied;
pub mod differential;
pub mod draft;
pub mod edge;
pub mod host;
pub mod judge;
pub mod lab;
pub mod operator;
pub mod packet;
pub mod portless;
pub mod programs;
pub mod random;
pub mod raw;
pub mod rules;
pub mod running;
pub mod splice;
pub mod tagged;
pub mod talk;
pub mod tampering;
pub mod traffic;
pub mod tun;
pub mod tunnel;
pub mod unit;
pub mod without_tcx;
