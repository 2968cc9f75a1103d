//! Digits run together: `5350102465535` to 5350, 1024 and 65535.
//!
//! In comes a run of digits; out come the ways to cut it. A cut is possible where no number begins with 0 or
//! exceeds 65535; a default lies between its bounds. Invariant: a caller learns of every possible cut, so
//! that it can report a choice.

/// The cuts of `digits` into a default, a minimum and a maximum in this order.
pub(super) fn default_and_bounds(digits: &str) -> Vec<[u32; 3]> {
    let mut cuts = vec![];
    for first in 1..=digits.len().min(5) {
        for second in 1..=digits.len().saturating_sub(first).min(5) {
            let (a, rest) = digits.split_at(first);
            let (b, c) = rest.split_at(second);
            if let (Some(default), Some(min), Some(max)) = (port(a), port(b), port(c))
                && min <= default
                && default <= max
                && min < max
            {
                cuts.push([default, min, max]);
            }
        }
    }
    cuts
}

/// The places where `digits` can end a name (`T.120`) and begin a port: byte offsets, the longest port first.
pub(super) fn name_and_port(digits: &str) -> Vec<usize> {
    (1..digits.len()).filter(|&cut| port(&digits[cut..]).is_some()).collect()
}

/// A number that can be a port.
fn port(digits: &str) -> Option<u32> {
    if digits.is_empty() || digits.len() > 5 || digits.starts_with('0') {
        return None;
    }
    digits.parse().ok().filter(|&port| port <= 65_535)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_leave_few_cuts() {
        for (digits, cuts) in [
            ("5350102465535", vec![[5350, 1024, 65535]]),
            ("7103102465535", vec![[7103, 1024, 65535]]),
            ("80801102465535", vec![]),
            ("500050005010", vec![[5000, 5000, 5010]]),
        ] {
            assert_eq!(default_and_bounds(digits), cuts, "{digits}");
        }
    }

    #[test]
    fn a_port_has_no_leading_zero() {
        assert_eq!(name_and_port("1201503"), [3, 4, 6]);
    }
}
