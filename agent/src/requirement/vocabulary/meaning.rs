//! Meanings: what a word can stand for, by the place where it is read.

use crate::requirement::Protocol;

/// What a word means where ports and protocols are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortWord {
    Protocol(Protocol),
    Application(usize),
    Range,
    /// `->`: what stands before is mapped to what stands behind.
    Maps,
    List,
    Between,
    Above,
    More,
    Below,
    Any,
    Dynamic,
    Unspecified,
    Nothing,
    Port,
    /// A number behind it is an IP protocol's.
    IpProtocol,
    /// A number before it is an amount, no port.
    Unit,
    /// A word that others seem to be part of: no port language.
    Other,
    Filler,
}

/// What a word is whose number stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberWord {
    /// A document, or what it or a program was at some time: `RFC 5424`, `version: 10`, `since 2016`.
    Edition,
    /// A place in a document: `page 12`. What ends a name takes no number behind a colon: `status page: 8080`.
    Place,
}

/// Which end of a range a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeEnd {
    First,
    Last,
}

/// Which way traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowWord {
    Inbound,
    Outbound,
    Both,
}

/// How a row is qualified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlagWord {
    Legacy,
    Optional,
    Configurable,
}

/// What a word says in passing about its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HintWord {
    /// A direction that counts anywhere.
    Flow(FlowWord),
    /// A direction that only counts in notes.
    Verb(FlowWord),
    Flag(FlagWord),
}

/// What a word between a title's directions and a role says: `inbound | to the | relay`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubjectWord {
    /// The role stands behind the word, as in most languages.
    pub(crate) leads: bool,
    /// It names the role of inbound traffic, and the other end of outbound traffic.
    pub(crate) inbound: bool,
    /// It names the role of outbound traffic, and the other end of inbound traffic.
    pub(crate) outbound: bool,
    /// It names the role where no direction is stated.
    pub(crate) any: bool,
    /// It does so where nothing else is said: `The relay | requires`.
    pub(crate) alone: bool,
}
