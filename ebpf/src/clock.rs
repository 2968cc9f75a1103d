//! The clock of everything that ends by itself.

use aya_ebpf::helpers::generated::bpf_jiffies64;

/// The kernel's tick counter. The verifier turns the helper into one load (bpf_jiffies64 in
/// kernel/bpf/verifier.c), where a clock in nanoseconds is a call. Userspace knows the length of a tick.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no arguments and has no side effects.
    unsafe { bpf_jiffies64() }
}
