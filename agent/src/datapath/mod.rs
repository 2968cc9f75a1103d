//! The thin edge to the kernel: tables go in, counters come out.
//!
//! Everything that makes a system call about BPF is here. The modules above hand over plain values
//! and get plain values back; none of them sees a file descriptor.

mod attach;
mod clock;
mod clsact;
mod counters;
mod diagnostics;
mod error;
mod fill;
mod flows;
mod held;
mod keep;
mod link;
mod load;
mod object;
mod permission;
mod pins;
mod second;
mod sys;

pub use attach::{Attached, Attachment, Begun, Mode, Standing, interfaces};
pub use clock::ticks;
pub use counters::Totals;
pub use error::DatapathError;
pub(crate) use error::chain;
pub use flows::{FlowTotals, flow_totals};
pub use held::Held;
pub use keep::Kept;
pub use load::{Loaded, OBJECT};
pub use object::{LoadOptions, Programs};
pub use permission::ensure_permission;
pub(crate) use pins::is_bpffs;
pub use pins::{Pins, ensure_bpffs};
pub use second::{Differing, Role, SecondSet};
