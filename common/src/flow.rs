//! Flows: the conversations that this host began, as the egress program records them.
//!
//! A key is written from the host's point of view, so that egress (local = source) and ingress
//! (local = destination) build the same bytes. Addresses and ports are in network byte order, as
//! they stand in the packet. For ICMP echo both ports hold the identifier (RFC 792, RFC 4443 4.1).

/// Bytes of the map `FLOW_PORTS`: one for each class index of a TCP or UDP port. A power of two.
pub const PORTS: usize = 0x2_0000;

/// An IPv4 conversation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey4 {
    /// This host's address.
    pub local: [u8; 4],
    /// The other side's address.
    pub remote: [u8; 4],
    /// This host's port.
    pub local_port: u16,
    /// The other side's port.
    pub remote_port: u16,
    /// IP protocol number; the upper bytes are zero, so that the key has no padding.
    pub protocol: u32,
}

/// An IPv6 conversation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey6 {
    /// This host's address.
    pub local: [u8; 16],
    /// The other side's address.
    pub remote: [u8; 16],
    /// This host's port.
    pub local_port: u16,
    /// The other side's port.
    pub remote_port: u16,
    /// IP protocol number; the upper bytes are zero, so that the key has no padding.
    pub protocol: u32,
}

/// What is known of a conversation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// When a packet of it was last seen: `bpf_ktime_get_coarse_ns`, nanoseconds of CLOCK_MONOTONIC_COARSE.
    pub last_seen: u64,
}

const _: () = assert!(size_of::<FlowKey4>() == 16);
const _: () = assert!(size_of::<FlowKey6>() == 40);

#[cfg(feature = "user")]
// SAFETY: integers and byte arrays without padding; every bit pattern is valid.
unsafe impl aya::Pod for FlowKey4 {}
#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for FlowKey6 {}
#[cfg(feature = "user")]
// SAFETY: one `u64`; every bit pattern is valid.
unsafe impl aya::Pod for Flow {}
