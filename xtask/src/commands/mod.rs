//! The commands, one module each.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod fuzz;
pub(crate) mod launch;
pub(crate) mod setup;
pub(crate) mod test;
