//! Generations: one compiled, loaded policy on one interface after another.
//!
//! A generation is its manifest (what each counter slot stands for, and why) and its programs in the
//! kernel. Which generation is active is never written down: the kernel's link names its program, and
//! the program's identifier names the manifest. So no crash can leave the two at odds.

mod apply;
mod manifest;
mod slots;
mod store;

pub use apply::{Applied, ApplyError, ApplyOptions, Prepared, detach, detach_unnamed, prepare};
pub use manifest::{Manifest, SlotMeaning, Slotted};
pub use slots::{SlotError, assign};
pub use store::{Known, Lock, Roots, StoreError, active, known};
