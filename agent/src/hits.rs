//! Counters that are read now and then -> when each rule first and last counted, as far as that can be told.
//!
//! The kernel programs keep no time: reading a clock costs more than a verdict. Whoever reads the counters
//! compares them with what was read before; a packet that was counted in between was counted between the two
//! readings, and more is not claimed. Pure: the clock and the file are somebody else's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The form of the file; another form is not read.
const SCHEMA: u32 = 1;

/// Two readings, in seconds since 1970 UTC; something was counted after the one and before the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The reading that did not know of it yet; `None` where there was none before.
    pub after: Option<f64>,
    /// The reading that did.
    pub before: f64,
}

/// When something was counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Packets at the last reading.
    packets: u64,
    /// The first one.
    pub first: Window,
    /// The last one.
    pub last: Window,
}

/// What the readings of one interface have shown, by the identity of a rule or the name of a reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hits {
    schema: u32,
    seen: BTreeMap<String, Hit>,
}

impl Default for Hits {
    fn default() -> Self {
        Self { schema: SCHEMA, seen: BTreeMap::new() }
    }
}

impl Hits {
    /// Whether it is of the form that this build reads.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.schema == SCHEMA
    }

    /// When something was counted; `None` where nothing was.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Hit> {
        self.seen.get(name)
    }

    /// Takes a reading in. `before` is when the last one was. What is not read any more is forgotten. Gives
    /// whether anything is new.
    pub fn read<'a>(
        &mut self,
        before: Option<f64>,
        now: f64,
        counts: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> bool {
        let window = Window { after: before, before: now };
        let mut seen = BTreeMap::new();
        let mut is_new = false;
        for (name, packets) in counts {
            let known = self.seen.remove(name);
            if packets == 0 && known.is_none() {
                continue;
            }
            let hit = match known {
                // Also where there are fewer: then they were counted anew from zero.
                Some(hit) if hit.packets != packets => {
                    is_new = true;
                    let last = if packets == 0 { hit.last } else { window };
                    Hit { packets, last, ..hit }
                }
                Some(hit) => hit,
                None => {
                    is_new = true;
                    Hit { packets, first: window, last: window }
                }
            };
            seen.insert(name.to_owned(), hit);
        }
        is_new |= !self.seen.is_empty();
        self.seen = seen;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(after: impl Into<Option<f64>>, before: f64) -> Window {
        Window { after: after.into(), before }
    }

    #[test]
    fn a_packet_was_counted_between_the_reading_that_knows_it_and_the_one_before() {
        let mut hits = Hits::default();
        assert!(hits.read(None, 10.0, [("early", 3), ("never", 0), ("late", 0)]));
        assert!(!hits.read(Some(10.0), 20.0, [("early", 3), ("never", 0), ("late", 0)]), "nothing is new");
        assert!(hits.read(Some(20.0), 30.0, [("early", 3), ("never", 0), ("late", 1)]));
        assert!(hits.read(Some(30.0), 40.0, [("early", 4), ("never", 0), ("late", 1)]));
        let of = |name| hits.of(name).map(|hit| (hit.first, hit.last));
        assert_eq!(of("early"), Some((window(None, 10.0), window(30.0, 40.0))));
        assert_eq!(of("late"), Some((window(20.0, 30.0), window(20.0, 30.0))));
        assert_eq!(of("never"), None);
    }

    #[test]
    fn counters_that_begin_anew_keep_the_first_time_and_what_is_gone_is_forgotten() {
        let mut hits = Hits::default();
        hits.read(None, 10.0, [("a", 5), ("b", 1)]);
        hits.read(Some(10.0), 20.0, [("a", 0), ("b", 1)]);
        hits.read(Some(20.0), 30.0, [("a", 2), ("b", 1)]);
        assert_eq!(
            hits.of("a").map(|hit| (hit.first, hit.last)),
            Some((window(None, 10.0), window(20.0, 30.0)))
        );
        assert!(hits.read(Some(30.0), 40.0, [("a", 2)]));
        assert_eq!(hits.of("b"), None);
    }
}
