//! The egress program where the kernel has no TCX (before Linux 6.6): a filter of the qdisc clsact.
//!
//! Such a filter needs no pin: it is there until somebody removes it or its interface goes. It is found
//! again by where it stands, which is always the same priority and handle, and by its name. The qdisc
//! stays when the filter goes: others may use it, and without filters it does nothing.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// What the filter is called, which `tc filter show` tells.
const NAME: &str = "portcullis";
/// Behind all other filters, so that what really leaves is seen.
const PRIORITY: u16 = u16::MAX;
/// The filter among those of its priority: "Port" in ASCII.
const HANDLE: TcHandle = TcHandle { major: 0x506f, minor: 0x7274 };
/// Every protocol: `ETH_P_ALL` of include/uapi/linux/if_ether.h.
const EVERY_PROTOCOL: u16 = 3;

/// The filter on an interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// Kernel identifier of its program.
    pub(super) program: u32,
}

impl Filter {
    /// The filter on the interface with this index; `None` where there is none.
    pub(super) fn on(interface: u32) -> io::Result<Option<Self>> {
        let answers = request(RouteNetlinkMessage::GetTrafficFilter(filter(interface, Vec::new())), 0);
        let answers = match answers {
            // No interface, no qdisc, no filter of this priority or of this handle.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EINVAL | libc::ENOENT)) =>
            {
                return Ok(None);
            }
            other => other?,
        };
        let options = answers.iter().flat_map(options).collect::<Vec<_>>();
        let named =
            |option: &&TcFilterBpfOption| matches!(option, TcFilterBpfOption::ProgName(name) if name == NAME);
        if !options.iter().any(named) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("another filter stands at priority {PRIORITY}, handle {:#x}", u32::from(HANDLE)),
            ));
        }
        let program = options.iter().find_map(|option| match option {
            TcFilterBpfOption::ProgId(program) => Some(*program),
            _ => None,
        });
        let program = program.ok_or_else(|| io::Error::other("the kernel does not name the program"))?;
        Ok(Some(Self { program }))
    }

    /// Makes `program` the filter's, in one step, and the filter where there is none.
    pub(super) fn put(interface: u32, program: BorrowedFd<'_>) -> io::Result<()> {
        if Self::on(interface)?.is_none() {
            make_qdisc(interface)?;
        }
        let options = [
            TcFilterBpfOption::ProgFd(program.as_raw_fd().unsigned_abs()),
            TcFilterBpfOption::ProgName(NAME.to_owned()),
            // The program's answer is the verdict, not a class.
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let attributes = vec![
            TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
            TcAttribute::Options(options.map(TcOption::Bpf).into()),
        ];
        request(RouteNetlinkMessage::NewTrafficFilter(filter(interface, attributes)), NLM_F_CREATE).map(drop)
    }

    /// Removes the filter, if it is there.
    pub(super) fn remove(interface: u32) -> io::Result<()> {
        if Self::on(interface)?.is_none() {
            return Ok(());
        }
        match request(RouteNetlinkMessage::DelTrafficFilter(filter(interface, Vec::new())), 0) {
            // Gone meanwhile, alone or with its interface.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// A message about the filter.
fn filter(interface: u32, attributes: Vec<TcAttribute>) -> TcMessage {
    let egress = TcHandle { major: TcHandle::CLSACT.major, minor: TcHandle::MIN_EGRESS };
    let header = TcHeader {
        index: interface.cast_signed(),
        handle: HANDLE,
        parent: egress,
        // Priority and protocol (`TC_H_MAKE` in net/sched/cls_api.c), the latter in network byte order.
        info: u32::from(PRIORITY) << 16 | u32::from(EVERY_PROTOCOL.to_be()),
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, attributes)
}

/// Makes the qdisc that filters hang on, where it is missing.
fn make_qdisc(interface: u32) -> io::Result<()> {
    let header = TcHeader {
        index: interface.cast_signed(),
        handle: TcHandle { major: TcHandle::CLSACT.major, minor: 0 },
        parent: TcHandle::CLSACT,
        ..TcHeader::default()
    };
    let message = TcMessage::from_parts(header, vec![TcAttribute::Kind("clsact".to_owned())]);
    // Without NLM_F_EXCL or NLM_F_REPLACE, one that is there stays as it is.
    match request(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(io::Error::new(
            error.kind(),
            format!("{error}: an `ingress` qdisc in the place of `clsact` has to be removed first"),
        )),
        other => other.map(drop),
    }
}

/// The options of a filter in an answer.
fn options(answer: &RouteNetlinkMessage) -> Vec<&TcFilterBpfOption> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = answer else { return Vec::new() };
    let options = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    let bpf = options.flatten().filter_map(|option| match option {
        TcOption::Bpf(option) => Some(option),
        _ => None,
    });
    bpf.collect()
}

/// Asks the kernel; gives its answers. What it refuses is an error with its errno.
fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answers = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let answer =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            match answer.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                // An error without a code is the acknowledgement.
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            let length = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?.length() as usize;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
