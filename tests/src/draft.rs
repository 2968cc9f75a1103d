//! Policies for tests, written piece by piece.

/// A policy of these interfaces.
#[must_use]
pub fn policy(interfaces: &[String]) -> String {
    format!("version = 1\n{}", interfaces.concat())
}

/// An interface that enforces, with what it lets in.
#[must_use]
pub fn interface(name: &str, allows: &[String]) -> String {
    format!("\n[[interface]]\nname = \"{name}\"\n{}", allows.concat())
}

/// An interface that only counts, with what it would let in.
#[must_use]
pub fn observed(name: &str, allows: &[String]) -> String {
    format!("\n[[interface]]\nname = \"{name}\"\nmode = \"observe\"\n{}", allows.concat())
}

/// Ports that are open to any source.
#[must_use]
pub fn allow(name: &str, protocol: &str, ports: &str) -> String {
    format!("\n[[interface.allow]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nports = \"{ports}\"\n")
}

/// Ports that are open to some sources.
#[must_use]
pub fn allow_from(name: &str, protocol: &str, ports: &str, sources: &[&str]) -> String {
    format!("{}from = {sources:?}\n", allow(name, protocol, ports))
}

/// Pings of any source over these protocols, `icmp` and `icmpv6`.
#[must_use]
pub fn pings(name: &str, protocols: &[&str]) -> String {
    format!("\n[[interface.allow]]\nname = \"{name}\"\nprotocol = {protocols:?}\ntypes = \"echo-request\"\n")
}

/// Frames of these EtherTypes, which carry neither IP nor ARP.
#[must_use]
pub fn ether_types(name: &str, types: &[&str]) -> String {
    format!("\n[[interface.allow]]\nname = \"{name}\"\nprotocol = \"ethertype\"\ntypes = {types:?}\n")
}

/// What an interface lets in because it plays a role.
#[must_use]
pub fn role(name: &str) -> String {
    format!("roles = [\"{name}\"]\n")
}

/// A local address, with what only it lets in.
#[must_use]
pub fn address(address: &str, allows: &[String]) -> String {
    let allows = allows.concat().replace("[[interface.allow]]", "[[interface.address.allow]]");
    format!("\n[[interface.address]]\naddress = \"{address}\"\n{allows}")
}
