//! Rows and tries -> the maps that are private to a generation.
//!
//! The maps are mapped into memory: a system call for each element would take a second for a million.

use std::{io, os::fd::AsFd as _, slice};

use aya::{
    Pod,
    maps::{Array, Map, MapData, MapError},
};
use memmap2::MmapOptions;
use portcullis_common::{
    abi::{PACK, map},
    class::PAGE,
};

use super::{DatapathError, load::Loaded, object::map_of};
use crate::tables::More;

/// Entries of an array: the kernel wants at least one, used or not.
pub(super) fn entries(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

/// Elements of an array of packed values.
pub(super) fn packed(count: usize) -> u32 {
    entries(count.div_ceil(PACK))
}

/// Fills the rows and what their look-up needs.
pub(super) fn more(loaded: &mut Loaded, more: &More) -> Result<(), DatapathError> {
    fill(loaded, map::MORE_ROWS, &more.rows)?;
    fill(loaded, map::MORE_CELLS, &more.cells)?;
    fill(loaded, map::TRIE_ENTRIES, &more.tries.entries)?;
    fill(loaded, map::TRIE_NODES, &more.tries.nodes)
}

/// Fills the class table of a second set of rules.
pub(super) fn second(loaded: &mut Loaded, classes: &[u16]) -> Result<(), DatapathError> {
    fill(loaded, map::SECOND_CLASSES, classes)
}

/// Fills the class table for leaving packets from a page on.
pub(super) fn outbound(loaded: &mut Loaded, first: u32, classes: &[u16]) -> Result<(), DatapathError> {
    fill_from(loaded, map::OUTBOUND, first as usize * PAGE * size_of::<u16>(), classes)
}

/// Sets the moment from which on the second set decides.
pub(super) fn deadline(loaded: &mut Loaded, deadline: u64) -> Result<(), DatapathError> {
    let failed = |error: MapError| DatapathError::bpf(format!("fill the map `{}`", map::DEADLINE), &error);
    let mut array: Array<&mut MapData, u64> = map_of(loaded, map::DEADLINE)?.try_into().map_err(failed)?;
    array.set(0, deadline, 0).map_err(failed)
}

/// Writes the first values of an array that the kernel lets userspace map (`BPF_F_MMAPABLE`).
fn fill<T: Pod>(loaded: &mut Loaded, name: &'static str, values: &[T]) -> Result<(), DatapathError> {
    fill_from(loaded, name, 0, values)
}

/// The same, from a byte on.
fn fill_from<T: Pod>(
    loaded: &mut Loaded,
    name: &'static str,
    first: usize,
    values: &[T],
) -> Result<(), DatapathError> {
    if values.is_empty() {
        return Ok(());
    }
    let Map::Array(data) = map_of(loaded, name)? else {
        return Err(DatapathError::Bpf {
            what: format!("fill the map `{name}`"),
            reason: "it is no array".into(),
        });
    };
    write(data, first, values).map_err(|error| DatapathError::bpf(format!("fill the map `{name}`"), &error))
}

fn write<T: Pod>(data: &MapData, first: usize, values: &[T]) -> io::Result<()> {
    // SAFETY: `T` is plain data without padding (`Pod`), so that its bytes may be looked at.
    let bytes = unsafe { slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    // SAFETY: the map belongs to this loader alone; no program that reads it is attached yet, and nothing
    // resizes a map.
    let mut memory = unsafe { MmapOptions::new().len(first + bytes.len()).map_mut(&data.fd().as_fd()) }?;
    memory[first..].copy_from_slice(bytes);
    Ok(())
}
