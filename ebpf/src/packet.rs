//! The one bounds-checked way to packet bytes.
//!
//! A [`Window`] is a run of bytes whose presence was checked once; everything inside it is then read
//! at offsets that the compiler checks. No other module does pointer arithmetic on a packet.

use aya_ebpf::{helpers::generated::bpf_skb_pull_data, programs::XdpContext};

/// Largest offset at which a window may start: above what Ethernet, two VLAN tags and the headers
/// that [`crate::parse`] follows can add up to, and what tells the verifier that an offset is small.
const MAX_OFFSET: usize = 0xfff;

/// What the egress program is called with: the start of `struct __sk_buff` (include/uapi/linux/bpf.h).
///
/// aya's own type points to structures of which BTF then holds forward declarations, and bpf-linker
/// 0.13 writes those in an order that differs from run to run: the object would not be reproducible.
#[repr(C)]
pub(crate) struct SkBuff {
    len: u32,
    _before_data: [u32; 18],
    data: u32,
    data_end: u32,
}

/// As many bytes of a leaving packet are made linear where its headers are not: as many as the first of several
/// buffers of an arriving one holds.
const GATHERED: u32 = 1_024;

impl SkBuff {
    /// Moves the first bytes into the linear part where not all are there: of a large frame from a packet socket that
    /// holds the link's header alone. Gives whether it has changed.
    #[inline(always)]
    pub(crate) fn gather(&self) -> bool {
        let wanted = self.len.min(GATHERED);
        if Packet::leaving_again(self).len() >= wanted.into() {
            return false;
        }
        // SAFETY: the context is the kernel's; addresses of packet bytes are read anew afterwards.
        unsafe { bpf_skb_pull_data((&raw const *self).cast_mut().cast(), wanted) == 0 }
    }

    /// Bytes of the whole packet; of one that the hardware will cut into several, of all of them.
    #[inline(always)]
    pub(crate) fn length(&self) -> u64 {
        self.len.into()
    }
}

/// The linear part of a packet: its link-layer header first.
pub(crate) struct Packet {
    start: usize,
    end: usize,
}

impl Packet {
    /// A packet that arrives at an interface.
    #[inline(always)]
    pub(crate) fn arriving(ctx: &XdpContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end() }
    }

    /// The same, without anything that the verifier or the compiler knows of it already.
    #[inline(always)]
    pub(crate) fn arriving_again(ctx: &XdpContext) -> Self {
        // SAFETY: the context is the kernel's and lives as long as the program runs; volatile, so that
        // it is read again.
        let (start, end) = unsafe {
            ((&raw const (*ctx.ctx).data).read_volatile(), (&raw const (*ctx.ctx).data_end).read_volatile())
        };
        Self { start: start as usize, end: end as usize }
    }

    /// A packet that leaves through an interface.
    #[inline(always)]
    pub(crate) fn leaving(buffer: &SkBuff) -> Self {
        Self { start: buffer.data as usize, end: buffer.data_end as usize }
    }

    /// The same, without anything that the verifier or the compiler knows of it already.
    #[inline(always)]
    pub(crate) fn leaving_again(buffer: &SkBuff) -> Self {
        // SAFETY: the context is the kernel's and lives as long as the program runs; volatile, so that it
        // is read again.
        let (start, end) = unsafe {
            ((&raw const buffer.data).read_volatile(), (&raw const buffer.data_end).read_volatile())
        };
        Self { start: start as usize, end: end as usize }
    }

    /// Number of bytes in the linear part.
    #[inline(always)]
    pub(crate) fn len(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// The `N` bytes from `offset` on, or `None` where the packet ends before them.
    #[inline(always)]
    pub(crate) fn window<const N: usize>(&self, offset: usize) -> Option<&Window<N>> {
        if offset > MAX_OFFSET {
            return None;
        }
        let first = self.start + offset;
        if first + N > self.end {
            return None;
        }
        // SAFETY: `first..first + N` lies within the packet, as just checked (the verifier checks it
        // again); `Window` is plain bytes with alignment 1, and nothing writes to the packet.
        Some(unsafe { &*(first as *const Window<N>) })
    }
}

/// `N` bytes of a packet that are known to be there.
#[repr(transparent)]
pub(crate) struct Window<const N: usize>([u8; N]);

impl<const N: usize> Window<N> {
    /// The byte at `AT`.
    #[inline(always)]
    pub(crate) fn byte<const AT: usize>(&self) -> u8 {
        self.bytes::<AT, 1>()[0]
    }

    /// Two bytes at `AT` as they stand in memory: a field in network byte order keeps that order.
    #[inline(always)]
    pub(crate) fn half<const AT: usize>(&self) -> u16 {
        u16::from_ne_bytes(self.bytes::<AT, 2>())
    }

    /// Four bytes at `AT` as they stand in memory.
    #[inline(always)]
    pub(crate) fn word<const AT: usize>(&self) -> u32 {
        u32::from_ne_bytes(self.bytes::<AT, 4>())
    }

    /// Eight bytes at `AT` as they stand in memory.
    #[inline(always)]
    pub(crate) fn long<const AT: usize>(&self) -> u64 {
        u64::from_ne_bytes(self.bytes::<AT, 8>())
    }

    /// `M` bytes at `AT`, copied.
    #[inline(always)]
    pub(crate) fn bytes<const AT: usize, const M: usize>(&self) -> [u8; M] {
        const { assert!(AT + M <= N, "field outside of the window") };
        // SAFETY: `AT + M <= N` was checked at compile time; `[u8; M]` has alignment 1.
        unsafe { self.0.as_ptr().add(AT).cast::<[u8; M]>().read() }
    }
}
