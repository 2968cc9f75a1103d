//! One question to the kernel over netlink, and all its answers.

use std::{fmt::Debug, io, sync::Arc};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// What this host is doing cannot be told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel refuses an answer.
    #[error("cannot ask the kernel for {what}: {source}")]
    Kernel {
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The kernel's answer cannot be read.
    #[error("cannot read the kernel's answer about {what}: {reason}")]
    Answer {
        /// What was asked for.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A connection to one part of the kernel.
pub(super) struct Netlink {
    socket: Socket,
    what: &'static str,
}

/// How many answers a question has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// One.
    One,
    /// A list, which the kernel ends.
    List,
}

/// A list that changed while the kernel wrote it is asked for again, this many times.
const ATTEMPTS: usize = 3;

/// `NLM_F_DUMP_INTR` of include/uapi/linux/netlink.h: the list changed meanwhile.
const INTERRUPTED: u16 = 0x10;

impl Netlink {
    /// Opens a connection; `what` names it in errors.
    pub(super) fn open(protocol: isize, what: &'static str) -> Result<Self, HostError> {
        let failed = |error| HostError::Kernel { what, source: Arc::new(error) };
        let mut socket = Socket::new(protocol).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        Ok(Self { socket, what })
    }

    /// Asks, and gives the answers.
    pub(super) fn ask<T>(&self, question: &T, answers: Answers) -> Result<Vec<T>, HostError>
    where
        T: NetlinkSerializable + NetlinkDeserializable + Clone + Debug,
    {
        for _ in 1..ATTEMPTS {
            if let (list, true) = self.once(question, answers)? {
                return Ok(list);
            }
        }
        // What changes all the time is as good as its last reading.
        self.once(question, answers).map(|(list, _)| list)
    }

    /// The answers, and whether nothing changed while the kernel wrote them.
    fn once<T>(&self, question: &T, answers: Answers) -> Result<(Vec<T>, bool), HostError>
    where
        T: NetlinkSerializable + NetlinkDeserializable + Clone + Debug,
    {
        let failed = |error| HostError::Kernel { what: self.what, source: Arc::new(error) };
        let mut header = NetlinkHeader::default();
        header.flags = if answers == Answers::List { NLM_F_REQUEST | NLM_F_DUMP } else { NLM_F_REQUEST };
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question.clone()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(failed)?;

        let (mut list, mut whole) = (Vec::new(), true);
        loop {
            let (bytes, _) = self.socket.recv_from_full().map_err(failed)?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<T>::deserialize(rest)
                    .map_err(|error| self.unreadable(&error.to_string()))?;
                // Messages begin at multiples of four (netlink(7)).
                let length = (message.header.length as usize).next_multiple_of(4);
                rest = rest.get(length.max(4)..).unwrap_or_default();
                whole &= message.header.flags & INTERRUPTED == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => list.push(answer),
                    NetlinkPayload::Done(_) => return Ok((list, whole)),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(failed(error.to_io()));
                    }
                    _ => {}
                }
            }
            if answers == Answers::One && !list.is_empty() {
                return Ok((list, whole));
            }
        }
    }

    fn unreadable(&self, reason: &str) -> HostError {
        HostError::Answer { what: self.what, reason: reason.to_owned() }
    }
}
