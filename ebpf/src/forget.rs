//! Numbers of which the verifier knows nothing.

use core::ptr;

/// The same number, of which the verifier has forgotten everything.
///
/// The verifier follows each path through the program on its own, until it comes to a place that it has
/// seen with the same knowledge. A number that depends on the path keeps paths apart; this joins them. It
/// relies on how the verifier treats a read of the upper half of what was written to the stack as a whole
/// (`check_stack_read_fixed_off` of kernel/bpf/verifier.c: a fill narrower than the spill, and not at its
/// lower end, is unknown), and costs a store and a load. A function of its own would do the same for the
/// price of a call, which is three times as much.
#[inline(always)]
pub(crate) fn forget(number: u32) -> u32 {
    const UPPER: usize = if cfg!(target_endian = "little") { 1 } else { 0 };
    let mut slot = 0_u64;
    // SAFETY: the slot is on the stack; volatile, so that it is written and read as it stands here.
    unsafe { ptr::write_volatile(&raw mut slot, u64::from(number) << 32) };
    // SAFETY: the upper half of the slot, which was written as a whole.
    unsafe { (&raw const slot).cast::<u32>().add(UPPER).read_volatile() }
}

/// [`forget`] for 64 bits.
#[inline(always)]
pub(crate) fn forget_long(number: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let lower = forget(number as u32);
    u64::from(forget((number >> 32) as u32)) << 32 | u64::from(lower)
}
