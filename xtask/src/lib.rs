//! Finds the eBPF toolchain and builds the kernel object.
//!
//! Two callers: `agent/build.rs`, which needs the object for every build of the agent, and the
//! command `cargo xtask`. It is the first thing a newcomer compiles, hence nothing but `std` and
//! `anyhow` here.

pub mod debian;
pub mod object;
pub mod package;
pub mod places;
pub mod skip;
pub mod toolchain;
