//! The commands, one module each.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod debian;
pub(crate) mod fuzz;
pub(crate) mod launch;
pub(crate) mod package;
pub(crate) mod setup;
pub(crate) mod soak;
pub(crate) mod test;
pub(crate) mod vm;
