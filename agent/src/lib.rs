//! Portcullis: from a vendor's document of required ports to packets judged in the kernel.
//!
//! Modules stand in the order of the data: document, requirement, catalog, policy, rule set,
//! compile, tables, datapath, generation, counters, daemon, CLI. Each turns the type before it into
//! the next and never reaches back. docs/architecture.md tells what each does not know.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod terminal;

pub mod document;
pub mod requirement;

pub mod problem;

pub mod catalog;
pub mod policy;

pub mod ruleset;

pub mod compile;
pub mod evaluate;
pub mod tables;

pub mod files;

pub mod datapath;
pub mod generation;
pub mod guard;
pub mod host;
pub mod last_good;
pub mod plan;
pub mod probe;

pub mod counters;
pub mod doctor;
pub mod findings;
pub mod hits;
pub mod shadow;

mod netlink;
mod schema;

pub mod cli;
pub mod daemon;
