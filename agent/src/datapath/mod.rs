//! The thin edge to the kernel: tables go in, counters come out.
//!
//! Everything that makes a system call about BPF is here. The modules above hand over plain values
//! and get plain values back; none of them sees a file descriptor.

mod attach;
mod attachment;
mod clock;
mod clsact;
mod counters;
mod device;
mod diagnostics;
mod error;
mod fill;
#[cfg(all(test, not(feature = "previous-abi")))]
mod fingerprint;
mod flows;
mod grip;
mod held;
mod keep;
mod lasting;
mod link;
mod link_type;
mod load;
mod object;
mod parts;
mod permission;
mod pins;
mod predecessor;
mod second;
mod sys;

pub use attach::{Attached, Begun, Listener, Mode};
pub use attachment::{Attachment, Pinned, Place, Standing, pinned_program};
pub use clock::ticks;
pub use counters::Totals;
pub use device::{Device, index_of, name_of, namespace};
pub use error::DatapathError;
pub(crate) use error::chain;
pub use flows::{FlowTotals, flow_totals};
pub use grip::{Grip, Hanging};
pub use held::Held;
pub use keep::Kept;
pub use lasting::ends_with_this_process;
pub use link::is_loaded;
pub use link_type::{LinkType, LinkTypes, OtherLink};
pub use load::{Loaded, OBJECT};
pub use object::{LoadOptions, Programs};
pub use parts::{OnInterfaces, Part};
pub use permission::ensure_permission;
pub(crate) use pins::is_bpffs;
pub use pins::{Pins, ensure_bpffs, ensure_lasting_bpffs};
pub use predecessor::{Key, Predecessor, totals_in, wait_for_programs};
pub use second::{Differing, Role, SecondSet};
