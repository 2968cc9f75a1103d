//! Prefixes with classes -> trie ([`portcullis_common::trie`]).

use ipnet::IpNet;
use portcullis_common::trie::{IS_CLASS, Node, ROOTS, STRIDE};

use super::CompileError;
use crate::tables::Tries;

/// Most nodes of all tries together: 128 MiB.
const MAX_NODES: usize = 1 << 22;

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
        let index = (self.bits << from) >> (u128::BITS - stride);
        usize::try_from(index).expect("a stride is at most 16 bits")
    }
}

/// Adds a trie of prefixes of one version of IP. `prefixes` ascend by network, then length. Gives the
/// position of its first root entry; `None` where there are no prefixes: every address has class 0.
pub(super) fn add<'a>(
    tries: &mut Tries,
    prefixes: impl Iterator<Item = (&'a IpNet, u32)>,
) -> Result<Option<u32>, CompileError> {
    let prefixes: Vec<Prefix> = prefixes.map(|(net, class)| Prefix::new(net, class)).collect();
    if prefixes.is_empty() {
        return Ok(None);
    }
    let start = number(tries.roots.len());
    for entry in entries(&prefixes, 0, ROOTS.ilog2(), 0) {
        let root = match entry {
            Entry::Class(class) => class | IS_CLASS,
            Entry::Longer(longer, class) => {
                let node = tries.nodes.len();
                tries.nodes.push(Node::default());
                fill(tries, node, longer, ROOTS.ilog2(), class)?;
                number(node)
            }
        };
        tries.roots.push(root);
    }
    Ok(Some(start))
}

/// Fills the node for the bits from `from` on, and all below it.
fn fill(
    tries: &mut Tries,
    node: usize,
    prefixes: &[Prefix],
    from: u32,
    inherited: u32,
) -> Result<(), CompileError> {
    let entries = entries(prefixes, from, STRIDE, inherited);
    let longer = entries.iter().filter(|entry| matches!(entry, Entry::Longer(..))).count();
    let first_child = tries.nodes.len();
    if first_child + longer > MAX_NODES {
        return Err(CompileError::TooManyPrefixes);
    }
    tries.nodes.resize(first_child + longer, Node::default());
    let mut filled =
        Node { first_child: number(first_child), first_leaf: number(tries.leaves.len()), ..Node::default() };
    let mut run = None;
    for (bit, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Class(class) if run == Some(*class) => {}
            Entry::Class(class) => {
                filled.runs |= 1 << bit;
                tries.leaves.push(*class);
                run = Some(*class);
            }
            Entry::Longer(..) => filled.children |= 1 << bit,
        }
    }
    tries.nodes[node] = filled;
    let mut child = first_child;
    for entry in entries {
        if let Entry::Longer(longer, class) = entry {
            fill(tries, child, longer, from + STRIDE, class)?;
            child += 1;
        }
    }
    Ok(())
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

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("tries are limited in size")
}
