//! Random rule sets and packets, the same for the same seed on every machine.

mod packets;
mod policies;

pub use packets::{Shape, spoiled};
pub use policies::{changed, rules};

/// A generator of numbers (SplitMix64, Steele, Lea and Flood 2014): small, fast, and good enough to
/// choose what to test.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        // The upper half of the product is spread over 0..end.
        let product = u128::from(self.number()) * end as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.number().to_be_bytes()[0]
    }

    /// Two bytes.
    pub fn half(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of a list that is not empty.
    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// Ports that rules open and packets go to, so that they meet.
const PORTS: &[u16] =
    &[0, 1, 22, 53, 67, 68, 69, 80, 123, 443, 546, 547, 3478, 5060, 5061, 40_000, 50_000, 65_535];
/// ICMP and ICMPv6 types likewise.
const TYPES: &[u8] = &[
    0, 1, 2, 3, 4, 5, 8, 11, 12, 13, 0x11, 0x11, 0x12, 0x16, 0x17, 0x22, 128, 129, 130, 131, 132, 133, 134,
    135, 136, 137, 138, 143, 255,
];
/// IP protocols likewise: all that the program tells apart, and some that it does not.
const PROTOCOLS: &[u8] = &[0, 1, 2, 2, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135, 139, 140, 255];

/// EtherTypes likewise: named ones that are no IP; a rule set and a second one name at most 16 of them together.
const ETHER_TYPES: &[u16] = &[0x0600, 0x0842, 0x8892, 0x88cc, 0x88f6, 0x88f7, 0x88f8, 0x8906, 0xffff];

/// A port: mostly one of few, or the one beside it.
fn port(random: &mut Random) -> u16 {
    match random.below(10) {
        0 => random.half(),
        1 => random.of(PORTS).wrapping_add(1),
        2 => random.of(PORTS).wrapping_sub(1),
        _ => random.of(PORTS),
    }
}

fn kind(random: &mut Random) -> u8 {
    if random.percent(10) { random.byte() } else { random.of(TYPES) }
}

fn protocol(random: &mut Random) -> u8 {
    if random.percent(10) { random.byte() } else { random.of(PROTOCOLS) }
}

/// An address of few: 198.51.100.0 to .3 or 2001:db8::0 to ::3, or the same with a bit turned.
fn address(random: &mut Random, v4: bool) -> Vec<u8> {
    let mut bytes =
        if v4 { vec![198, 51, 100, 0] } else { [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 12]].concat() };
    let last = bytes.len() - 1;
    bytes[last] = random.byte() & 3;
    if random.percent(20) {
        let bit = random.below(bytes.len() * 8);
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
    }
    bytes
}
