//! Durations -> ticks of the kernel's clock, which is what the programs read.

use std::time::Duration;

use nix::time::{ClockId, clock_getres};

use super::DatapathError;

/// Ticks of this kernel's clock that take at least as long as `duration`.
///
/// # Errors
///
/// Where the kernel does not tell the length of a tick.
pub fn ticks(duration: Duration) -> Result<u64, DatapathError> {
    Ok(Tick::of_this_kernel()?.in_duration(duration))
}

/// The length of a tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    nanoseconds: u64,
}

impl Tick {
    /// This kernel's: the coarse clock moves once a tick, and its resolution says so
    /// (`KTIME_LOW_RES` in include/linux/hrtimer_defs.h).
    pub(super) fn of_this_kernel() -> Result<Self, DatapathError> {
        let resolution = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
            .map_err(|error| DatapathError::bpf("read the length of a tick", &error))?;
        let nanoseconds = u64::try_from(Duration::from(resolution).as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { nanoseconds: nanoseconds.max(1) })
    }

    /// Ticks that take at least as long.
    pub(super) fn in_duration(self, duration: Duration) -> u64 {
        let ticks = duration.as_nanos().div_ceil(self.nanoseconds.into());
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_never_shortened() {
        let tick = Tick { nanoseconds: 4_000_000 };
        let cases = [(0, 0), (1, 1), (4_000_000, 1), (4_000_001, 2), (60_000_000_000, 15_000)];
        for (nanoseconds, ticks) in cases {
            assert_eq!(tick.in_duration(Duration::from_nanos(nanoseconds)), ticks, "{nanoseconds} ns");
        }
    }

    #[test]
    fn this_kernel_ticks_between_a_hundred_and_a_thousand_times_a_second() {
        let second = Tick::of_this_kernel().expect("the clock is there").in_duration(Duration::from_secs(1));
        assert!((100..=1_000).contains(&second), "{second}");
    }
}
