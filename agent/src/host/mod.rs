//! What this host is doing now: its conversations, where their packets arrive, and what it cannot do
//! without.
//!
//! The kernel's sockets, routes, links and addresses go in (netlink), and what processes hold (/proc);
//! plain values come out. Nothing here knows a policy, a rule or BPF. Only this network namespace is
//! seen.

mod conversations;
mod forwarding;
mod groups;
mod netlink;
mod operator;
mod paths;
mod resolvers;
mod segments;
mod sockets;
mod tracked;

pub use conversations::{Conversation, Side, conversations};
pub use forwarding::forwards;
pub use groups::{Groups, VRRP};
pub use netlink::HostError;
pub use operator::{Caller, Session, logins, operators_sockets, own_sessions};
pub use paths::{Lease, Paths};
pub use resolvers::resolvers;
pub use segments::{Ends, segments};
pub use sockets::{Socket, Transport, sockets};
pub use tracked::translated;
