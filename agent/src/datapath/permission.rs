//! Whether this process may do what it is asked, before it begins.

use std::fs;

use super::DatapathError;

/// `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF` of include/uapi/linux/capability.h.
const NEEDED: u64 = 1 << 12 | 1 << 38 | 1 << 39;

/// Refuses where the capabilities for BPF and XDP are missing; `what` begins the sentence.
///
/// # Errors
///
/// Where a capability is missing. Where it cannot be told, the kernel is left to refuse.
pub fn ensure_permission(what: &'static str) -> Result<(), DatapathError> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    match effective(&status) {
        Some(capabilities) if capabilities & NEEDED != NEEDED => Err(DatapathError::Permission { what }),
        _ => Ok(()),
    }
}

/// The effective capabilities that proc_pid_status(5) tells.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_their_line() {
        assert_eq!(effective("CapPrm:\tff\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("CapEff:\t0000000000000000\n").map(|all| all & NEEDED), Some(0));
        assert_eq!(effective("Name:\tportcullis\n"), None);
    }
}
