//! Random packets: mostly valid, some mutated, some cut short.

use super::{ETHER_TYPES, Random, address, kind, port, protocol};

/// A packet before it is written out, so that a reply can be made of it.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The link-layer destination.
    station: [u8; 6],
    v4: bool,
    tags: Vec<u16>,
    source: Vec<u8>,
    destination: Vec<u8>,
    hop_limit: u8,
    /// IPv4: words of options. IPv6: extension headers, each with its kind and its bytes.
    options: u8,
    extensions: Vec<(u8, Vec<u8>)>,
    /// Flags and offset of an IPv4 fragment.
    fragment: u16,
    /// Identification of the datagram that an IPv4 packet is a fragment of.
    identification: u8,
    protocol: u8,
    /// Source and destination port, or type and code, then the identifier.
    ports: (u16, u16),
    kind: u8,
    flags: u8,
    payload: usize,
}

/// Identifications of fragmented datagrams: few, so that they meet.
const IDENTIFICATIONS: &[u8] = &[1, 2, 3];
/// The IPv6 fragment header.
const FRAGMENT: u8 = 44;

/// TCP flags by number.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

impl Shape {
    /// A packet that arrives.
    #[must_use]
    pub fn arriving(random: &mut Random) -> Self {
        let v4 = random.percent(50);
        let tags = match random.below(20) {
            0..=12 => 0,
            13..=16 => 1,
            17 | 18 => 2,
            _ => 3,
        };
        let protocol = match random.below(12) {
            0..=3 => 6,
            4..=6 => 17,
            7 | 8 => 132,
            9 | 10 => {
                if v4 {
                    1
                } else {
                    58
                }
            }
            _ => protocol(random),
        };
        Self {
            station: station(random),
            v4,
            tags: (0..tags).map(|_| random.of(&[0x8100, 0x88a8])).collect(),
            source: address(random, v4),
            destination: if random.percent(8) { group(random, v4) } else { address(random, v4) },
            hop_limit: random.of(&[255, 255, 64, 254, 1]),
            options: if random.percent(80) { 0 } else { u8::try_from(random.below(11)).unwrap_or(0) },
            extensions: extensions(random),
            fragment: if random.percent(85) {
                random.of(&[0, 0x4000])
            } else {
                random.of(&[0x2000, 0x2001, 1, 0x1fff, 0x8000])
            },
            identification: random.of(IDENTIFICATIONS),
            protocol,
            ports: (port(random), port(random)),
            kind: kind(random),
            flags: flags(random),
            payload: random.below(24),
        }
    }

    /// Whether it is an SCTP packet.
    #[must_use]
    pub fn is_association(&self) -> bool {
        self.protocol == 132
    }

    /// Whether its protocol has ports.
    #[must_use]
    pub fn has_ports(&self) -> bool {
        matches!(self.protocol, 6 | 17 | 132)
    }

    /// The packet's conversation in the other direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let kind = match self.kind {
            0 => 8,
            8 => 0,
            128 => 129,
            129 => 128,
            other => other,
        };
        // A question to a group is answered from an address of one's own.
        let is_group = self.destination[0] == 0xff || self.v4 && self.destination[0] >= 224;
        let own =
            || if self.v4 { vec![198, 51, 100, 0] } else { [&[0x20, 1, 0x0d, 0xb8][..], &[0; 12]].concat() };
        Self {
            station: [2, 0, 0, 0, 0, 1],
            source: if is_group { own() } else { self.destination.clone() },
            destination: self.source.clone(),
            ports: (self.ports.1, self.ports.0),
            kind,
            ..self.clone()
        }
    }

    /// The packet as the first fragment of a datagram.
    #[must_use]
    pub fn first_fragment(mut self, random: &mut Random) -> Self {
        let at = random.below(self.extensions.len() + 1);
        if self.v4 {
            self.fragment = 0x2000;
        } else if !self.extensions.iter().any(|(kind, _)| *kind == FRAGMENT) {
            self.extensions.insert(at, (FRAGMENT, fragment_header(random, 1)));
        }
        self
    }

    /// A fragment behind this first one, or, rarely, behind another.
    #[must_use]
    pub fn later_fragment(&self, random: &mut Random) -> Self {
        let mut shape = self.clone();
        let offset =
            if random.percent(60) { random.of(&[1, 2, 3, 7, 8, 9, 185]) } else { random.half() >> 3 };
        shape.fragment = offset | u16::from(random.percent(50)) << 13;
        for (kind, bytes) in &mut shape.extensions {
            if *kind == FRAGMENT {
                let field = (offset << 3 | u16::from(random.percent(50))).to_be_bytes();
                bytes[2..4].copy_from_slice(&field);
            }
        }
        match random.below(12) {
            0 => shape.identification = random.of(IDENTIFICATIONS),
            1 => shape.source = address(random, shape.v4),
            2 => shape.destination = address(random, shape.v4),
            3 => shape.protocol = random.of(&[6, 17, 132]),
            4 => shape.ports.1 = port(random),
            _ => {}
        }
        shape
    }

    /// The same conversation with other flags, and now and then with one thing changed.
    #[must_use]
    pub fn varied(&self, random: &mut Random) -> Self {
        let mut shape = Self { flags: flags(random), ..self.clone() };
        match random.below(12) {
            0 => shape.ports.0 = port(random),
            1 => shape.ports.1 = port(random),
            2 => shape.source = address(random, shape.v4),
            3 => shape.destination = address(random, shape.v4),
            4 => shape.protocol = random.of(&[6, 17, 132]),
            5 => shape.tags = vec![0x8100],
            6 => shape.extensions = extensions(random),
            _ => {}
        }
        shape
    }

    /// The same question to a group, or to all on the link; its answer comes from an address of its own.
    #[must_use]
    pub fn to_group(&self, random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self { station: [0xff; 6], ..self.clone() },
            _ => Self { destination: group(random, self.v4), ..self.clone() },
        }
    }

    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = [self.station, [2, 0, 0, 0, 0, 2]].concat();
        for tag in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 5]);
        }
        let transport = self.transport();
        if self.v4 {
            let fragment = self.fragment.to_be_bytes();
            frame.extend([0x08, 0x00, 0x45 + self.options, 0]);
            let length = 20 + usize::from(self.options) * 4 + transport.len();
            frame.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
            frame.extend([
                0,
                self.identification,
                fragment[0],
                fragment[1],
                self.hop_limit,
                self.protocol,
                0,
                0,
            ]);
            frame.extend(&self.source);
            frame.extend(&self.destination);
            frame.extend(vec![1; usize::from(self.options) * 4]);
        } else {
            let kinds: Vec<u8> =
                self.extensions.iter().map(|(kind, _)| *kind).chain([self.protocol]).collect();
            let length =
                self.extensions.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + transport.len();
            let length = u16::try_from(length).unwrap_or(0).to_be_bytes();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], kinds[0], self.hop_limit]);
            frame.extend(&self.source);
            frame.extend(&self.destination);
            for ((_, bytes), next) in self.extensions.iter().zip(&kinds[1..]) {
                frame.push(*next);
                frame.extend(&bytes[1..]);
            }
        }
        frame.extend(transport);
        frame
    }

    fn transport(&self) -> Vec<u8> {
        let (source, destination) = (self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes());
        let mut bytes = match self.protocol {
            6 => [&source[..], &destination, &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, self.flags, 4, 0, 0, 0, 0, 0]]
                .concat(),
            17 => [&source[..], &destination, &[0, 8, 0, 0]].concat(),
            // Verification tag and checksum, then the header of a chunk (RFC 9260 section 3).
            132 => [&source[..], &destination, &[0, 0, 0, 1, 0, 0, 0, 0, self.kind, 0, 0, 4]].concat(),
            // An identifier that does not depend on the direction.
            2 => vec![self.kind, 0, 0, 0, 0, 0, 0, 0],
            1 | 58 => vec![self.kind, 0, 0, 0, 0, source[1] ^ destination[1], 0, 1],
            _ => Vec::new(),
        };
        bytes.resize(bytes.len() + self.payload, 0x5a);
        bytes
    }
}

/// The frame of a shape as it arrives: now and then of another kind, mutated or cut short. At least an
/// Ethernet header, which the kernel asks for.
#[must_use]
pub fn spoiled(shape: &Shape, random: &mut Random) -> Vec<u8> {
    let mut frame = shape.bytes();
    if random.percent(4) {
        let read = [0x0806, 0x88cc, 0x0800, 0x86dd, 0x8100, 0x88a8, 0x9100];
        let ether_type = if random.percent(50) { random.of(ETHER_TYPES) } else { random.of(&read) };
        frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
    }
    if random.percent(15) {
        for _ in 0..=random.below(3) {
            let at = random.below(frame.len());
            frame[at] = random.byte();
        }
    }
    if random.percent(12) {
        frame.truncate(14 + random.below(frame.len() - 13));
    }
    frame
}

/// Mostly the host's own address; now and then one of a group, or one of the link's control protocols.
fn station(random: &mut Random) -> [u8; 6] {
    match random.below(12) {
        0 => [0xff; 6],
        1 => [0x01, 0x80, 0xc2, 0, 0, random.of(&[0, 2, 3, 0x0e, 0x0f, 0x10])],
        _ => [2, 0, 0, 0, 0, 1],
    }
}

/// An address of a group, or the broadcast.
fn group(random: &mut Random, v4: bool) -> Vec<u8> {
    if v4 {
        random.of(&[[224, 0, 0, 251], [239, 255, 255, 250], [255; 4]]).to_vec()
    } else {
        [&[0xff, 0x02][..], &[0; 13], &[0xfb]].concat()
    }
}

/// A fragment header (RFC 8200 section 4.5) with offset and flags in `field`.
fn fragment_header(random: &mut Random, field: u16) -> Vec<u8> {
    let field = field.to_be_bytes();
    vec![0, random.byte(), field[0], field[1], 0, 0, 0, random.of(IDENTIFICATIONS)]
}

fn flags(random: &mut Random) -> u8 {
    random.of(&[SYN, SYN, SYN | ACK, ACK, ACK, ACK | 0x01, 0x04, 0, 0xff, SYN | 0xc0])
}

fn extensions(random: &mut Random) -> Vec<(u8, Vec<u8>)> {
    let count = match random.below(20) {
        0..=12 => 0,
        13..=16 => 1 + random.below(3),
        17 => 7,
        18 => 8,
        _ => random.below(12),
    };
    // What is not followed ends a chain; in a long one it would hide the end.
    let kinds: &[u8] = if count < 7 { &[0, 43, 44, 51, 60, 135, 139, 140] } else { &[0, 43, 60] };
    (0..count).map(|_| extension(kinds, random)).collect()
}

fn extension(kinds: &[u8], random: &mut Random) -> (u8, Vec<u8>) {
    let kind = random.of(kinds);
    let units = random.below(3);
    let length = u8::try_from(units).unwrap_or(0);
    let mut bytes = match kind {
        44 => {
            let field = if random.percent(80) { random.of(&[0_u16, 1, 6]) } else { 8 << random.below(13) };
            return (kind, fragment_header(random, field));
        }
        51 => vec![0; (units + 2) * 4],
        _ => vec![0; (units + 1) * 8],
    };
    // Rarely it claims a length that it does not have.
    bytes[1] = if random.percent(3) { random.byte() } else { length };
    (kind, bytes)
}
