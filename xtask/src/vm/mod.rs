//! A virtual machine with another kernel: which packages make it, what lies in it, how it runs.

mod image;
mod machine;
mod packages;

pub(crate) use image::{Guest, Image, program_of};
pub(crate) use machine::boot;
pub(crate) use packages::{Packages, Unavailable};
