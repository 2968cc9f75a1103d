//! What userspace decides before the program is loaded.
//!
//! The scalars are frozen before the verifier runs, so that a branch on one costs nothing: the dead
//! side is removed. The class table lies in the same section at a direct address: reading a class is
//! one load, without a helper call or a null check.

use aya_ebpf::{Global, bindings::xdp_action};
use portcullis_common::{
    abi::{NO_TRIE, feature},
    class,
};

use crate::header::Version;

#[unsafe(no_mangle)]
static FEATURES: Global<u32> = Global::new(feature::FLOWS);
#[unsafe(no_mangle)]
static DROP_ACTION: Global<u32> = Global::new(xdp_action::XDP_DROP);
#[unsafe(no_mangle)]
static SOURCE_CLASSES: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
static SOURCES4: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static SOURCES6: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static ADDRESSES4: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static ADDRESSES6: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static TCP_TIMEOUT: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static UDP_TIMEOUT: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static CLASSES: [u16; class::COUNT] = [0; class::COUNT];

/// Whether the policy needs a feature.
#[inline(always)]
pub(crate) fn has(feature: u32) -> bool {
    FEATURES.load() & feature != 0
}

/// Whether packets with a drop verdict pass: the mode is observe.
#[inline(always)]
pub(crate) fn observes() -> bool {
    DROP_ACTION.load() == xdp_action::XDP_PASS
}

/// Number of source classes.
#[inline(always)]
pub(crate) fn source_classes() -> u32 {
    SOURCE_CLASSES.load()
}

/// Position of the trie of sources.
#[inline(always)]
pub(crate) fn sources(version: Version) -> u32 {
    match version {
        Version::V4 => SOURCES4.load(),
        Version::V6 => SOURCES6.load(),
    }
}

/// Position of the trie of local addresses.
#[inline(always)]
pub(crate) fn addresses(version: Version) -> u32 {
    match version {
        Version::V4 => ADDRESSES4.load(),
        Version::V6 => ADDRESSES6.load(),
    }
}

/// Nanoseconds after which an idle TCP flow is over.
#[inline(always)]
pub(crate) fn tcp_timeout() -> u64 {
    TCP_TIMEOUT.load()
}

/// Nanoseconds after which an idle UDP or echo flow is over.
#[inline(always)]
pub(crate) fn udp_timeout() -> u64 {
    UDP_TIMEOUT.load()
}

/// The class at `index`, which is below [`class::COUNT`] by construction of
/// [`crate::header::Headers`].
#[inline(always)]
pub(crate) fn class(index: usize) -> u16 {
    if index >= class::COUNT {
        return 0;
    }
    // SAFETY: `index` is inside the table, as just checked. Volatile, because userspace replaced the
    // zeros that the compiler sees.
    unsafe { (&raw const CLASSES).cast::<u16>().add(index).read_volatile() }
}
