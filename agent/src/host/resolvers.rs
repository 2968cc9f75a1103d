//! The name servers that this host asks, as resolv.conf(5) names them.

use std::{collections::BTreeSet, fs, net::IpAddr};

/// The file that the C library reads, and the one that names the servers behind systemd-resolved.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The name servers on other hosts. A file that is missing names none.
#[must_use]
pub fn resolvers() -> BTreeSet<IpAddr> {
    FILES.iter().filter_map(|file| fs::read_to_string(file).ok()).flat_map(|text| named(&text)).collect()
}

fn named(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        // A link-local address names its link as well.
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        (!address.is_loopback() && !address.is_unspecified()).then_some(address)
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::named;

    #[test]
    fn only_servers_on_other_hosts_are_named() {
        let text = "# nameserver 192.0.2.1\nsearch example.org\nnameserver 127.0.0.53\nnameserver\t192.0.2.2 \n\
                    nameserver fe80::1%eth0\nnameserver nonsense\nnameserver\n";
        let expected: [IpAddr; 2] = [[192, 0, 2, 2].into(), "fe80::1".parse().expect("an address")];
        assert_eq!(named(text), expected);
    }
}
