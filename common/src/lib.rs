//! What the kernel programs and userspace must agree on.
//!
//! Plain fixed-width types only: the kernel reads these bytes, so there is no `bool`, no `Option`
//! and no enum with fields. One definition serves both sides; [`abi::VERSION`] changes whenever the
//! meaning or the layout of anything here does.
#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod abi;
pub mod class;
pub mod counter;
pub mod flow;
pub mod fragment;
pub mod more;
pub mod second;
pub mod slot;
pub mod trie;
