//! Prefixes with classes -> trie ([`portcullis_common::trie`]).

use ipnet::IpNet;
use portcullis_common::trie::{IS_CLASS, MIN_STRIDE, Node, ROOTS};

use super::CompileError;
use crate::tables::Tries;

/// Most entries of all tries together: 128 MiB.
const MAX_ENTRIES: usize = 1 << 25;
/// Most bits that select an entry of one node.
const MAX_STRIDE: u32 = 16;
/// Entries for each prefix that a node tells apart: more make the trie flat, fewer make it small.
const ROOM: usize = 4;

/// A prefix, its bits left-aligned whatever the version of IP.
#[derive(Clone, Copy)]
struct Prefix {
    bits: u128,
    length: u32,
    class: u32,
}

/// What one value of the next bits leads to.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Class(u32),
    /// Prefixes that are longer, and the class of what none of them covers.
    Longer(&'a [Prefix], u32),
}

impl Prefix {
    fn new(net: &IpNet, class: u32) -> Self {
        let bits = match net {
            IpNet::V4(net) => u128::from(net.network().to_bits()) << 96,
            IpNet::V6(net) => net.network().to_bits(),
        };
        Self { bits, length: net.prefix_len().into(), class }
    }

    /// The value of the `stride` bits from bit `from` on.
    fn index(&self, from: u32, stride: u32) -> usize {
        let index = self.bits.checked_shl(from).unwrap_or(0) >> (u128::BITS - stride);
        usize::try_from(index).expect("a stride is at most 16 bits")
    }
}

/// Adds a trie of prefixes of one version of IP. `prefixes` ascend by network, then length. Gives the
/// position of its first entry; `None` where there are no prefixes: every address has class 0.
pub(super) fn add<'a>(
    tries: &mut Tries,
    prefixes: impl Iterator<Item = (&'a IpNet, u32)>,
) -> Result<Option<u32>, CompileError> {
    let prefixes: Vec<Prefix> = prefixes.map(|(net, class)| Prefix::new(net, class)).collect();
    if prefixes.is_empty() {
        return Ok(None);
    }
    fill(tries, &prefixes, 0, ROOTS.ilog2(), 0).map(Some)
}

/// Adds the entries for the `stride` bits from bit `from` on, and all below them. Gives the position of the
/// first.
fn fill(
    tries: &mut Tries,
    prefixes: &[Prefix],
    from: u32,
    stride: u32,
    inherited: u32,
) -> Result<u32, CompileError> {
    let first = tries.entries.len();
    if first + (1 << stride) > MAX_ENTRIES {
        return Err(CompileError::TooManyPrefixes);
    }
    tries.entries.resize(first + (1 << stride), IS_CLASS);
    for (position, entry) in (first..).zip(entries(prefixes, from, stride, inherited)) {
        tries.entries[position] = match entry {
            Entry::Class(class) => class | IS_CLASS,
            Entry::Longer(longer, class) => node(tries, longer, from + stride, class)?,
        };
    }
    Ok(number(first))
}

/// Adds a node for prefixes that are longer than `from`, and all below it. Gives its number.
fn node(tries: &mut Tries, prefixes: &[Prefix], from: u32, inherited: u32) -> Result<u32, CompileError> {
    let half = if from < u64::BITS { 0 } else { u64::BITS };
    let end = half + u64::BITS;
    // Ascending order: what the first and the last share, all share.
    let alike = prefixes.first().zip(prefixes.last());
    let alike = alike.map_or(0, |(first, last)| (first.bits ^ last.bits).leading_zeros());
    let lengths = prefixes.iter().map(|prefix| prefix.length);
    let shortest = lengths.clone().min().unwrap_or(from);
    let longest = lengths.max().unwrap_or(from);
    // At least one bit is left to select by.
    let behind = alike.min(shortest).min(end - 1).max(from);
    let skip = behind - from;
    let wanted = (prefixes.len() * ROOM).ilog2().clamp(MIN_STRIDE, MAX_STRIDE);
    let stride = wanted.min(longest - behind).max(1).min(end - behind);

    let number = number(tries.nodes.len());
    tries.nodes.push(Node::default());
    let mask = u64::MAX.checked_shr(skip).map_or(u64::MAX, |rest| !rest);
    let bits = prefixes.first().map_or(0, |prefix| (prefix.bits << from) >> 64);
    tries.nodes[number as usize] = Node {
        shared: u64::try_from(bits).expect("64 bits") & mask,
        mask,
        first: fill(tries, prefixes, behind, stride, inherited)?,
        otherwise: inherited,
        skip: byte(skip),
        shift: byte(u64::BITS - stride),
        taken: byte(skip + stride),
        ends_upper: u8::from(behind + stride == u64::BITS),
        padding: 0,
    };
    Ok(number)
}

/// What each value of the `stride` bits from bit `from` on leads to.
fn entries(prefixes: &[Prefix], from: u32, stride: u32, inherited: u32) -> Vec<Entry<'_>> {
    let mut entries = vec![Entry::Class(inherited); 1 << stride];
    let mut rest = prefixes;
    while let Some(prefix) = rest.first() {
        let index = prefix.index(from, stride);
        let end = from + stride;
        if prefix.length <= end {
            // Ascending order: what lies inside comes later, and paints over it.
            entries[index..index + (1 << (end - prefix.length))].fill(Entry::Class(prefix.class));
            rest = &rest[1..];
        } else {
            let count = rest.iter().take_while(|other| other.index(from, stride) == index).count();
            let (longer, behind) = rest.split_at(count);
            if let Entry::Class(class) = entries[index] {
                entries[index] = Entry::Longer(longer, class);
            }
            rest = behind;
        }
    }
    entries
}

fn byte(bits: u32) -> u8 {
    u8::try_from(bits).expect("at most 64 bits")
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("tries are limited in size")
}
