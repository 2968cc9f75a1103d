//! Headers <-> one word, which the verifier is made to forget ([`crate::forget`]): it then looks at what is
//! done with them once for each shape that a branch tells apart, instead of once for every way in which
//! headers can stand in a packet.

use portcullis_common::{
    abi::feature,
    slot::{Reason, Slot},
};

use crate::{
    config::Features,
    forget::forget_long,
    header::{Headers, Kind, Part, Version},
    parse::{ETHERNET, TAG},
};

/// A part of the word: its lowest bit, and how many there are.
struct Field(u32, u32);

const INDEX: Field = Field(0, 18);
const KIND: Field = Field(18, 3);
const VERSION: Field = Field(21, 1);
const TAGS: Field = Field(22, 2);
const PART: Field = Field(24, 2);
// Offsets below 32 KiB: eight extension headers of 2 KiB behind Ethernet and IPv6. Linux 6.1 wants to see by
// the width that an offset is no larger than a packet can be.
const TRANSPORT: Field = Field(26, 15);
const FRAGMENT: Field = Field(42, 15);
/// Set where the word is no headers but the reason why there are none.
const IS_REASON: Field = Field(63, 1);

impl Field {
    #[inline(always)]
    const fn of(&self, word: u64) -> usize {
        (word >> self.0) as usize & ((1 << self.1) - 1)
    }

    #[inline(always)]
    const fn with(&self, value: usize) -> u64 {
        (value as u64) << self.0
    }
}

/// The same headers, of which the verifier has forgotten how they were found.
#[inline(always)]
pub(crate) fn joined(headers: Headers, features: Features) -> Headers {
    unpack(forget_long(pack(headers, features)), features)
}

/// The slot of the reason why a packet has no headers.
///
/// As wide as an index, in whose place it lies: of a narrower one the compiler makes two halves of both, and joins them
/// again where an index is needed, after which the verifier of Linux 6.1 knows nothing of it.
#[derive(Clone, Copy)]
pub(crate) struct Refused(usize);

impl Refused {
    /// The slot.
    #[inline(always)]
    pub(crate) fn slot(self) -> Slot {
        self.0 as Slot
    }
}

/// Headers, or the reason why there are none.
#[derive(Clone, Copy)]
pub(crate) struct Word(u64);

impl Word {
    /// Packs them.
    #[inline(always)]
    pub(crate) fn of(headers: Result<Headers, Reason>, features: Features) -> Self {
        Self(match headers {
            Ok(headers) => pack(headers, features),
            Err(reason) => Self::reason(reason),
        })
    }

    /// Whether the packet ended within its headers.
    #[inline(always)]
    pub(crate) fn is_cut_short(self) -> bool {
        self.0 == Self::reason(Reason::Truncated) || self.0 == Self::reason(Reason::FragmentHeader)
    }

    #[inline(always)]
    const fn reason(reason: Reason) -> u64 {
        IS_REASON.with(1) | INDEX.with(reason.slot() as usize)
    }

    /// Unpacks them after the verifier was made to forget.
    #[inline(always)]
    pub(crate) fn headers(self, features: Features) -> Result<Headers, Refused> {
        let word = forget_long(self.0);
        if IS_REASON.of(word) != 0 {
            return Err(Refused(INDEX.of(word)));
        }
        Ok(unpack(word, features))
    }
}

/// Headers as a word.
#[inline(always)]
fn pack(headers: Headers, features: Features) -> u64 {
    let Headers { index, version, network, transport, kind, part, fragment } = headers;
    let has_link_header = !features.has(feature::NO_LINK_HEADER);
    INDEX.with(index)
        | KIND.with(kind as usize)
        | VERSION.with(version as usize)
        | TAGS.with(if has_link_header { (network - ETHERNET) / TAG } else { 0 })
        | PART.with(part as usize)
        | TRANSPORT.with(transport)
        | FRAGMENT.with(fragment)
}

/// The headers in a word.
#[inline(always)]
fn unpack(word: u64, features: Features) -> Headers {
    let has_link_header = !features.has(feature::NO_LINK_HEADER);
    let kind = match KIND.of(word) {
        SYN => Kind::Syn,
        SEGMENT => Kind::Segment,
        DATAGRAM => Kind::Datagram,
        ASSOCIATION => Kind::Association,
        ECHO_REQUEST => Kind::EchoRequest,
        ECHO_REPLY => Kind::EchoReply,
        _ => Kind::Other,
    };
    let part = match PART.of(word) {
        FIRST => Part::First,
        LATER => Part::Later,
        _ => Part::Whole,
    };
    Headers {
        index: INDEX.of(word),
        version: if VERSION.of(word) == V6 { Version::V6 } else { Version::V4 },
        network: if has_link_header { ETHERNET + TAG * TAGS.of(word) } else { 0 },
        transport: TRANSPORT.of(word),
        kind,
        part,
        fragment: FRAGMENT.of(word),
    }
}

const SYN: usize = Kind::Syn as usize;
const SEGMENT: usize = Kind::Segment as usize;
const DATAGRAM: usize = Kind::Datagram as usize;
const ASSOCIATION: usize = Kind::Association as usize;
const ECHO_REQUEST: usize = Kind::EchoRequest as usize;
const ECHO_REPLY: usize = Kind::EchoReply as usize;
const FIRST: usize = Part::First as usize;
const LATER: usize = Part::Later as usize;
const V6: usize = Version::V6 as usize;
