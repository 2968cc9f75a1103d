//! How long conversations are remembered, and how many: `[flows]`.

use std::{ops::RangeInclusive, time::Duration};

use portcullis_common::flow::{FEWEST, MOST, USUAL};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::file::FlowsTable;
use crate::problem::Collector;

/// Limits of the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// How long a TCP conversation may be silent whose other side has not answered yet.
    #[serde(with = "seconds")]
    pub tcp_opening: Duration,
    /// How long one may be silent of which both sides were heard.
    #[serde(with = "seconds")]
    pub tcp_established: Duration,
    /// How long one may be silent that one side has ended, and how long one is remembered that both have.
    #[serde(with = "seconds")]
    pub tcp_closing: Duration,
    /// How long a UDP conversation may be silent.
    #[serde(with = "seconds")]
    pub udp: Duration,
    /// How long an SCTP conversation may be silent.
    #[serde(with = "seconds", default = "sctp")]
    pub sctp: Duration,
    /// How long a ping may be silent.
    #[serde(with = "seconds")]
    pub echo: Duration,
    /// How long others may answer what this host asked a group, or a TFTP server.
    #[serde(with = "seconds", default = "answers")]
    pub answers: Duration,
    /// Conversations that there is room for; a power of two.
    pub entries: u32,
}

impl Flows {
    /// What the standards ask for: 2 hours and 4 minutes for TCP, 4 minutes while it opens and closes
    /// (RFC 5382 REQ-5), 5 minutes for UDP (RFC 4787 REQ-5), 1 minute for pings (RFC 5508 REQ-1). SCTP has no
    /// such standard; its heartbeats come every 30 seconds (RFC 9260 section 16), of which 5 minutes bear
    /// several to be lost. A device may wait 5 seconds before it answers a search (UPnP Device Architecture 2.0
    /// section 1.3.3: MX), which is the longest that is usual.
    pub const STANDARD: Self = Self {
        tcp_opening: Duration::from_secs(4 * 60),
        tcp_established: Duration::from_secs(2 * 3600 + 4 * 60),
        tcp_closing: Duration::from_secs(4 * 60),
        udp: Duration::from_secs(5 * 60),
        sctp: Duration::from_secs(5 * 60),
        echo: Duration::from_secs(60),
        answers: Duration::from_secs(5),
        entries: USUAL,
    };

    /// Resolves the table as written.
    pub(super) fn resolve(table: &FlowsTable, problems: &mut Collector<'_>) -> Self {
        let standard = Self::STANDARD;
        let mut time = |value: &Option<Spanned<i64>>, bounds, default| {
            let seconds = value.as_ref().and_then(|value| bounded(value, bounds, "seconds", problems));
            seconds.map_or(default, |seconds| Duration::from_secs(seconds.into()))
        };
        Self {
            tcp_opening: time(&table.tcp_opening, 10..=3_600, standard.tcp_opening),
            tcp_established: time(&table.tcp_established, 60..=604_800, standard.tcp_established),
            tcp_closing: time(&table.tcp_closing, 10..=3_600, standard.tcp_closing),
            udp: time(&table.udp, 10..=86_400, standard.udp),
            sctp: time(&table.sctp, 10..=86_400, standard.sctp),
            echo: time(&table.echo, 10..=3_600, standard.echo),
            answers: time(&table.answers, 1..=60, standard.answers),
            entries: table
                .entries
                .as_ref()
                .and_then(|value| bounded(value, FEWEST..=MOST, "conversations", problems))
                .map_or(standard.entries, u32::next_power_of_two),
        }
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// What a manifest means that was written before SCTP had ports.
const fn sctp() -> Duration {
    Flows::STANDARD.sctp
}

/// What a manifest means that was written before such answers could be let in.
const fn answers() -> Duration {
    Flows::STANDARD.answers
}

/// A number that must lie within bounds.
fn bounded(
    value: &Spanned<i64>,
    bounds: RangeInclusive<u32>,
    unit: &str,
    problems: &mut Collector<'_>,
) -> Option<u32> {
    let number = u32::try_from(*value.get_ref()).ok().filter(|number| bounds.contains(number));
    if number.is_none() {
        let message = format!("{} {unit} lie outside of what is sensible", value.get_ref());
        let help = format!("write a number from {} to {}", bounds.start(), bounds.end());
        problems.add(&value.span(), message, Some(help));
    }
    number
}

/// Durations as whole seconds, as a policy has them.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::Flows;

    #[test]
    fn what_was_stored_before_sctp_had_ports_has_its_standard_time() {
        let mut stored = serde_json::to_value(Flows::STANDARD).unwrap();
        let sctp = stored.as_object_mut().unwrap().remove("sctp");
        assert_eq!(sctp, Some(300.into()));
        assert_eq!(serde_json::from_value::<Flows>(stored).unwrap(), Flows::STANDARD);
    }
}
