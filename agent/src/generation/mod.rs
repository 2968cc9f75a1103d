//! Generations: one compiled, loaded policy on one interface after another.
//!
//! A generation is its manifest (what each counter slot stands for, and why) and its programs in the
//! kernel. Which generation is active is never written down: the kernel's link names its program, and
//! the program's identifier names the manifest. So no crash can leave the two at odds. A policy as it
//! was applied on all its interfaces is a revision; earlier ones are kept, to be put back.

mod adopt;
mod beside;
mod candidate;
mod commit;
mod devices;
mod error;
mod here;
mod in_place;
mod known;
mod manifest;
mod past;
mod prepare;
mod revision;
mod slots;
mod store;
mod takeover;
mod version2;
mod wanted;
mod whole;

pub use beside::{Back, Carried, Pending, Settled, Stage, carried, now as coarse_now, settle};
pub use candidate::Candidate;
pub use commit::{Applied, Unwanted, detach, detach_others, retire};
pub use devices::Entry;
pub use error::ApplyError;
pub use here::{Here, Skipped};
pub use in_place::in_place;
pub use known::{Known, active, known, last};
pub use manifest::{Beside, Manifest, SlotMeaning, Slotted};
pub use past::Archived;
pub use prepare::{ApplyOptions, ApplyStage, Prepared, Spent, prepare, prepare_wanted};
pub use revision::{KEPT, Revision};
pub use slots::{SlotError, assign};
pub use store::{Lock, Roots, StoreError};
pub use takeover::Heritage;
pub use wanted::{Wanted, WantedInterface};
