//! Cost: time and memory of one call, in proportion to its input.
//!
//! Invariant: only this process's time counts, so that another load on the machine changes nothing. Time and memory
//! are those of the whole process, since documents are read by several threads: callers run one property at a time.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Time for any input, and for each of its bytes; a document of 10 MB takes about 0.1 us a byte when optimised.
const TIME: Duration = Duration::from_millis(200);
const TIME_PER_BYTE: Duration = Duration::from_micros(20);
/// How much slower the code is without optimisation.
const UNOPTIMISED: u32 = if cfg!(feature = "engine") { 1 } else { 15 };
/// Memory for any input, and for each of its bytes.
const MEMORY_AT_LEAST: usize = 64 << 20;
const MEMORY_PER_BYTE: usize = 4 << 10;

/// Runs `work` on an input of `length` bytes.
///
/// # Panics
///
/// Where it takes more time or memory than an input of that length may.
pub(crate) fn bounded<T>(length: usize, work: impl FnOnce() -> T) -> T {
    let (before, started) = (MEMORY.current_usage(), process_time());
    MEMORY.reset_peak_usage();
    let done = work();
    let took = process_time().saturating_sub(started);
    let used = MEMORY.peak_usage().saturating_sub(before);
    let factor = u32::try_from(length).unwrap_or(u32::MAX);
    let time = (TIME + TIME_PER_BYTE.saturating_mul(factor)) * UNOPTIMISED;
    assert!(took <= time, "{length} bytes took {took:?}, more than {time:?}");
    let memory = MEMORY_AT_LEAST + MEMORY_PER_BYTE.saturating_mul(length);
    assert!(used <= memory, "{length} bytes took {used} bytes of memory, more than {memory}");
    done
}

fn process_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("Linux has the clock").into()
}
