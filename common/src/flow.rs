//! Flows: the conversations that somebody began, in a table that both programs and userspace read.
//!
//! A key is written from the host's point of view, so that egress (local = source) and ingress
//! (local = destination) build the same words. The table is an array of sets of [`WAYS`] entries; a flow
//! stands in one of the two sets that a keyed hash of its key names ([`hash`]).
//!
//! An entry's [`Life`] is both its state and its lock: whoever replaces the key first marks it busy by
//! compare and swap, and gives it a new version when the key is whole. A reader takes a key for that of
//! the entry only if the life before and after has the same version and is not busy; all other changes
//! swap the life they have read, and fail where it is another one by then.

use crate::class;

/// Words of the map `FLOW_FORGOTTEN`: one for each UDP port, then one for each SCTP port, by the port as it
/// stands in the packet. A power of two.
pub const FORGOTTEN: usize = 0x2_0000;

/// The word of a local port of a conversation with these ends and this protocol, UDP or SCTP.
#[must_use]
#[inline(always)]
pub const fn forgotten_index(port: u16, protocol: u8) -> usize {
    // 17 and 132: bit 7 tells them apart.
    port as usize | (protocol as usize >> 7) << 16
}

/// Bytes of the map `FLOW_MARKS`: one for each class index. A power of two.
pub const MARKS: usize = class::COUNT.next_power_of_two();

/// Entries of a set.
pub const WAYS: usize = 4;
/// Fewest and most flows that a table may be made for; a power of two between.
pub const FEWEST: u32 = 1 << 10;
/// See [`FEWEST`]; 96 MiB.
pub const MOST: u32 = 1 << 20;
/// Flows unless the policy asks for another number; 6 MiB.
pub const USUAL: u32 = 1 << 16;
/// Entries of the table for each flow that it is made for: half full, two sets of four leave hardly one
/// flow in a million without a free entry; three quarters full, seven in a thousand.
pub const SPARE: u32 = 2;

/// Set in the ends of a key that is no conversation but a question which others may answer; a bit next to the version.
const QUESTION: u64 = 1 << 47;

/// A conversation between two ends. Who began it is part of its [`Life`] and not of its key, so that one look-up
/// finds it whoever did, and one conversation never has two entries that say otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// IPv6: local address, then remote address, each as two native words of its bytes. IPv4: one word,
    /// the four bytes of the local address before those of the remote one; zeros behind it.
    pub addresses: [u64; 4],
    /// From the lowest bit: local port and remote port as they stand in the packet (for ICMP echo both
    /// are the identifier), protocol, version of IP. Never zero in an entry that is used.
    pub ends: u64,
}

impl Key {
    /// The words of an IPv4 conversation.
    #[must_use]
    #[inline(always)]
    pub const fn v4(local: [u8; 4], remote: [u8; 4], ends: u64) -> Self {
        let word = (u32::from_ne_bytes(remote) as u64) << 32 | u32::from_ne_bytes(local) as u64;
        Self { addresses: [word, 0, 0, 0], ends: ends | 4 << 40 }
    }

    /// The words of an IPv6 conversation.
    #[must_use]
    #[inline(always)]
    pub const fn v6(local: [u64; 2], remote: [u64; 2], ends: u64) -> Self {
        Self { addresses: [local[0], local[1], remote[0], remote[1]], ends: ends | 6 << 40 }
    }

    /// [`Self::ends`] without the version.
    #[must_use]
    #[inline(always)]
    pub const fn ends(local_port: u16, remote_port: u16, protocol: u8) -> u64 {
        local_port as u64 | (remote_port as u64) << 16 | (protocol as u64) << 32
    }

    /// The same conversation with whichever address of the local end: that of a question to a group, which the
    /// local end answers from an address of its own.
    #[must_use]
    #[inline(always)]
    pub const fn of_group(mut self) -> Self {
        if self.version() == 6 {
            self.addresses[0] = 0;
            self.addresses[1] = 0;
        } else {
            self.addresses[0] &= !0xffff_ffff;
        }
        self
    }

    /// What a question to a group is remembered as: anybody may answer it. No packet has such a key.
    #[must_use]
    #[inline(always)]
    pub const fn by_anybody(mut self) -> Self {
        if self.version() == 6 {
            self.addresses[2] = 0;
            self.addresses[3] = 0;
        } else {
            self.addresses[0] &= 0xffff_ffff;
        }
        self.from_any_port()
    }

    /// What a question is remembered as that is answered from another port of the same address. No packet has such a
    /// key.
    #[must_use]
    #[inline(always)]
    pub const fn from_any_port(mut self) -> Self {
        self.ends = self.ends & !(0xffff << 16) | QUESTION;
        self
    }

    /// Whether its packets do not show who began it: those of UDP and SCTP.
    #[must_use]
    #[inline(always)]
    pub const fn is_of_datagrams(&self) -> bool {
        matches!(self.protocol(), 17 | 132)
    }

    /// The IP protocol; 1 for echoes of either version.
    #[must_use]
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        (self.ends >> 32) as u8
    }

    /// Version of IP: 4 or 6.
    #[must_use]
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        (self.ends >> 40) as u8
    }
}

/// What is known of a conversation, in one word that is changed by compare and swap:
/// bits 0 to 39 the tick at which a packet of it was last seen, 40 to 47 its [`state`], 48 to 62 the
/// version of the key beside it, bit 63 set while that key is being replaced.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life(pub u64);

/// What is known of a conversation: of a TCP one what has happened in it, which is only ever added; of the
/// others who began it, which is decided once.
pub mod state {
    /// A packet of the side that did not begin it was seen; TCP and what this host began.
    pub const ANSWERED: u8 = 1;
    /// TCP: the local side has sent its last byte (FIN).
    pub const LOCAL_FIN: u8 = 2;
    /// TCP: the remote side has, or somebody has forged it.
    pub const REMOTE_FIN: u8 = 4;
    /// TCP: the remote side has broken it off (RST), or somebody has forged it. Where the local side has, both
    /// sides have ended it.
    pub const RESET: u8 = 8;
    /// The remote end began it: what it sends needs a rule. Without this bit the local end began it.
    pub const VISIT: u8 = 0x10;
    /// UDP and SCTP: no rule let in what began it; it was seen while nothing was dropped. One of the four bits
    /// that select a timeout, of which these conversations need no other.
    pub const UNRULED: u8 = 2;
    /// UDP: a question that others may answer than it was sent to. Two of the bits that select a timeout, so that the
    /// upper one is believed ([`super::believed`]).
    pub const QUESTION: u8 = 6;
}

/// Which timeout a conversation is subject to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TCP: only the side that began it was seen.
    Opening,
    /// TCP: both sides were seen.
    Established,
    /// TCP: one side has sent FIN; the other may go on.
    Closing,
    /// TCP: both have, or the local one has sent RST. Silence is not waited for.
    Closed,
    /// UDP and SCTP: what no rule let in was seen while nothing was dropped.
    Seen,
    /// UDP: a question that others may answer.
    Question,
    /// UDP.
    Datagrams,
    /// SCTP.
    Associations,
    /// ICMP echo.
    Echo,
}

impl Life {
    const TICKS: u64 = (1 << 40) - 1;
    const VERSIONS: u64 = 0x7fff << 48;
    const BUSY: u64 = 1 << 63;

    /// With another state, seen at `tick`; the version stays.
    #[must_use]
    #[inline(always)]
    pub const fn with(self, state: u8, tick: u64) -> Self {
        Self(self.0 & Self::VERSIONS | (state as u64) << 40 | tick & Self::TICKS)
    }

    /// While the key is being replaced.
    #[must_use]
    #[inline(always)]
    pub const fn busy(self) -> Self {
        Self(self.0 | Self::BUSY)
    }

    /// Of the next key in the same entry.
    #[must_use]
    #[inline(always)]
    pub const fn next(self) -> Self {
        Self((self.0 & Self::VERSIONS).wrapping_add(1 << 48) & Self::VERSIONS)
    }

    /// Whether the key is being replaced.
    #[must_use]
    #[inline(always)]
    pub const fn is_busy(self) -> bool {
        self.0 & Self::BUSY != 0
    }

    /// Whether both belong to the same key, whole.
    #[must_use]
    #[inline(always)]
    pub const fn is_same_key(self, other: Self) -> bool {
        (self.0 ^ other.0) & (Self::VERSIONS | Self::BUSY) == 0 && !self.is_busy()
    }

    /// The state's bits.
    #[must_use]
    #[inline(always)]
    pub const fn state(self) -> u8 {
        (self.0 >> 40) as u8
    }

    /// Ticks since a packet was last seen. Another CPU may have seen one a tick ahead: then none.
    #[must_use]
    #[inline(always)]
    pub const fn idle(self, now: u64) -> u64 {
        let idle = now.wrapping_sub(self.0) & Self::TICKS;
        if idle > Self::TICKS / 2 { 0 } else { idle }
    }
}

/// Whether both sides of a TCP conversation have ended it. The states of other conversations never say so.
#[must_use]
#[inline(always)]
pub const fn is_closed(state: u8) -> bool {
    const FINS: u8 = state::LOCAL_FIN | state::REMOTE_FIN;
    state & FINS == FINS
}

/// The part of a state that decides how long silence is borne. Anybody who knows the ports of a conversation
/// can forge an end of the remote side, and the programs see no sequence numbers; so such an end counts only
/// once the local side has ended the conversation too. Until then it only says which flows give way first.
#[must_use]
#[inline(always)]
pub const fn believed(state: u8) -> u8 {
    // The bit of the remote FIN stands next to that of the local one.
    state & (!(state::REMOTE_FIN | state::RESET) | (state & state::LOCAL_FIN) << 1)
}

const _: () = {
    assert!(state::LOCAL_FIN << 1 == state::REMOTE_FIN);
    assert!(believed(state::ANSWERED | state::REMOTE_FIN | state::RESET) == state::ANSWERED);
    assert!(is_closed(believed(state::LOCAL_FIN | state::REMOTE_FIN)));
    assert!(believed(state::QUESTION) == state::QUESTION);
};

impl Phase {
    /// The phase of a conversation.
    #[must_use]
    pub const fn of(protocol: u8, state: u8) -> Self {
        match protocol {
            6 if is_closed(state) => Self::Closed,
            6 if state & (state::LOCAL_FIN | state::REMOTE_FIN | state::RESET) != 0 => Self::Closing,
            6 if state & state::ANSWERED != 0 => Self::Established,
            6 => Self::Opening,
            17 if state & state::QUESTION == state::QUESTION => Self::Question,
            17 | 132 if state & state::UNRULED != 0 => Self::Seen,
            17 => Self::Datagrams,
            132 => Self::Associations,
            _ => Self::Echo,
        }
    }
}

/// Entries of the table of timeouts.
pub const TIMEOUTS: usize = 64;

/// Where the timeout of a conversation stands in that table: four bits of state, and two that tell TCP (6),
/// UDP (17), SCTP (132) and ICMP (1) apart, without a branch: bits 1 and 4 of the protocol after its upper
/// bits were mixed in.
#[must_use]
#[inline(always)]
pub const fn timeout_index(ends: u64, state: u8) -> usize {
    let protocol = (ends >> 32) as usize;
    let mixed = protocol ^ protocol >> 3;
    (state as usize & 15 | (mixed & 16) | (mixed & 2) << 4) & (TIMEOUTS - 1)
}

const _: () = {
    // Whatever stands beside the protocol, each has a quarter of the table.
    let protocols = [1, 6, 17, 132];
    let mut taken = [false; TIMEOUTS];
    let mut n = 0;
    while n < protocols.len() * 16 {
        let (protocol, state) = (protocols[n / 16], (n % 16) as u8);
        let index = timeout_index(Key::ends(0, 0, protocol), state);
        assert!(!taken[index]);
        assert!(index == timeout_index(Key::ends(u16::MAX, u16::MAX, protocol) | 0xffff << 40, state));
        taken[index] = true;
        n += 1;
    }
};

/// A place for a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its life.
    pub life: Life,
    /// Its key; all zeros where nothing was ever here.
    pub key: Key,
}

/// Entries that share an index of the map `FLOWS`.
pub type Set = [Entry; WAYS];

/// Entry of the map `FLOW_SETTINGS`: what must stay the same as long as the flows do.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Random words of the hash. All zeros until userspace has written them.
    pub secret: [u64; SECRETS],
    /// Number of sets less one; the number is a power of two.
    pub mask: u64,
}

/// Words of the hash's secret.
pub const SECRETS: usize = 11;

/// The two sets in which a flow may stand, as indexes before the mask of [`Settings`] is applied, given the
/// words of the secret by their numbers.
///
/// Multilinear hashing with half the multiplications (Lemire and Kaser, "Strongly universal string hashing
/// is fast", The Computer Journal 57, 2014): of 32-bit pieces and 64-bit secrets, the upper 32 bits of the
/// sum. Strongly universal: whoever does not know the secret can choose no two keys that meet more often
/// than chance would have it, so nobody can crowd a set. A fixed mix (that of SplitMix64) makes two
/// indexes of it that have nothing to do with each other, also for keys in a row.
#[must_use]
#[inline(always)]
pub fn hash(key: &Key, secret: impl Fn(usize) -> u64) -> (u32, u32) {
    let [one, two, three, four] = key.addresses;
    let mut sum = secret(10).wrapping_add(product(one, secret(0), secret(1))).wrapping_add(product(
        key.ends,
        secret(2),
        secret(3),
    ));
    if key.version() == 6 {
        sum = sum
            .wrapping_add(product(two, secret(4), secret(5)))
            .wrapping_add(product(three, secret(6), secret(7)))
            .wrapping_add(product(four, secret(8), secret(9)));
    }
    let mut mixed = (sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed as u32, (mixed >> 32) as u32)
}

#[inline(always)]
const fn product(word: u64, one: u64, two: u64) -> u64 {
    one.wrapping_add(word & 0xffff_ffff).wrapping_mul(two.wrapping_add(word >> 32))
}

/// What befell the flow table on one CPU since it was made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounter {
    /// Flows that were recorded.
    pub begun: u64,
    /// Flows that gave way to another one before their time was over.
    pub evicted: u64,
    /// Flows that were not recorded, because another CPU was writing to the same entry. A later packet
    /// tries again.
    pub missed: u64,
}

const _: () = assert!(size_of::<Entry>() == 48);
const _: () = assert!(size_of::<Settings>() == 96);
const _: () = assert!(size_of::<FlowCounter>() == 24);

#[cfg(feature = "user")]
mod user {
    // SAFETY: words without padding, here and below; every bit pattern is valid.
    unsafe impl aya::Pod for super::Entry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Settings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FlowCounter {}
}
