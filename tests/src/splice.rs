//! Headers that few senders write, spliced into plain frames: IPv4 options, IPv6 extension headers,
//! fragments, more VLAN tags than two, and frames that are not IP.

/// An IPv6 extension header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    kind: u8,
    /// All of it; the first byte, the next header, is filled in when it is spliced in.
    bytes: Vec<u8>,
}

impl Extension {
    /// A header of `units` times eight bytes (RFC 8200 section 4.2), with every option `PadN`.
    #[must_use]
    pub fn padded(kind: u8, units: u8) -> Self {
        let mut bytes = vec![0; usize::from(units) * 8];
        bytes[1] = units - 1;
        Self { kind, bytes }
    }

    /// A fragment header (RFC 8200 section 4.5); `offset` counts eight-byte units.
    #[must_use]
    pub fn fragment(offset: u16, more: bool) -> Self {
        let field = (offset << 3 | u16::from(more)).to_be_bytes();
        Self { kind: 44, bytes: vec![0, 0, field[0], field[1], 0, 0, 0, 1] }
    }

    /// A fragment header of the datagram with this identification.
    #[must_use]
    pub fn fragment_of(identification: u8, offset: u16, more: bool) -> Self {
        let mut header = Self::fragment(offset, more);
        header.bytes[7] = identification;
        header
    }

    /// An authentication header (RFC 4302) with `words` four-byte words behind the fixed twelve bytes.
    #[must_use]
    pub fn authentication(words: u8) -> Self {
        let mut bytes = vec![0; 12 + usize::from(words) * 4];
        bytes[1] = words + 1;
        Self { kind: 51, bytes }
    }

    /// With the second byte, which is the length in most headers and reserved in a fragment header,
    /// set to a value that need not be true.
    #[must_use]
    pub fn claiming(mut self, length: u8) -> Self {
        self.bytes[1] = length;
        self
    }
}

/// Offset of the IP header in a frame with any number of VLAN tags.
#[must_use]
pub fn network(frame: &[u8]) -> usize {
    let mut at = 12;
    while matches!(frame[at..at + 2], [0x81, 0x00] | [0x88, 0xa8]) {
        at += 4;
    }
    at + 2
}

/// The frame with one byte replaced.
#[must_use]
pub fn set(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at] = value;
    frame
}

/// The frame with one more VLAN tag in front, of EtherType `kind`.
#[must_use]
pub fn tag(frame: &[u8], kind: u16, id: u16) -> Vec<u8> {
    [&frame[..12], &kind.to_be_bytes(), &id.to_be_bytes(), &frame[12..]].concat()
}

/// The IPv4 frame with `words` times four bytes of options, all of them no-operations.
#[must_use]
pub fn options(frame: &[u8], words: u8) -> Vec<u8> {
    let start = network(frame);
    let behind = start + 20;
    let mut spliced = [&frame[..behind], &vec![1; usize::from(words) * 4], &frame[behind..]].concat();
    spliced[start] = 0x45 + words;
    spliced
}

/// The IPv4 frame as a fragment; `offset` counts eight-byte units.
#[must_use]
pub fn fragment4(frame: &[u8], offset: u16, more: bool) -> Vec<u8> {
    let start = network(frame);
    let field = (offset | u16::from(more) << 13).to_be_bytes();
    set(&set(frame, start + 6, field[0]), start + 7, field[1])
}

/// The same of the datagram with this identification.
#[must_use]
pub fn fragment4_of(frame: &[u8], identification: u8, offset: u16, more: bool) -> Vec<u8> {
    let start = network(frame);
    set(&set(&fragment4(frame, offset, more), start + 4, 0), start + 5, identification)
}

/// The IPv6 frame with extension headers in this order.
#[must_use]
pub fn extend(frame: &[u8], extensions: &[Extension]) -> Vec<u8> {
    let start = network(frame);
    let mut header = frame[..start + 40].to_vec();
    let last = header[start + 6];
    header[start + 6] = extensions.first().map_or(last, |first| first.kind);
    let mut chain = Vec::new();
    for (n, extension) in extensions.iter().enumerate() {
        let at = chain.len();
        chain.extend_from_slice(&extension.bytes);
        chain[at] = extensions.get(n + 1).map_or(last, |following| following.kind);
    }
    [&header, &chain, &frame[start + 40..]].concat()
}

/// A frame that is not IP.
#[must_use]
pub fn plain(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type.to_be_bytes(), payload].concat()
}
