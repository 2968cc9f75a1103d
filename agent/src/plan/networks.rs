//! Sets of addresses, for telling exactly which sources something opens to.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use iprange::IpRange;

/// The fewest networks that hold every address that none of these does, in ascending order.
#[must_use]
pub fn others(networks: &[IpNet]) -> Vec<IpNet> {
    let mut others = Networks::of_rule(&[]);
    for network in networks {
        others = others.without(&Networks::of_rule(&[*network]));
    }
    others.all()
}

/// A set of IPv4 and IPv6 addresses.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Networks {
    v4: IpRange<Ipv4Net>,
    v6: IpRange<Ipv6Net>,
}

impl Networks {
    /// The union of some networks; none stand for every address, as in a rule.
    pub(super) fn of_rule(sources: &[IpNet]) -> Self {
        let mut networks = Self::default();
        if sources.is_empty() {
            networks.v4.add(Ipv4Net::default());
            networks.v6.add(Ipv6Net::default());
        }
        for source in sources {
            match source {
                IpNet::V4(net) => drop(networks.v4.add(net.trunc())),
                IpNet::V6(net) => drop(networks.v6.add(net.trunc())),
            }
        }
        networks.v4.simplify();
        networks.v6.simplify();
        networks
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self { v4: self.v4.merge(&other.v4), v6: self.v6.merge(&other.v6) }
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        Self { v4: self.v4.exclude(&other.v4), v6: self.v6.exclude(&other.v6) }
    }

    pub(super) fn common(&self, other: &Self) -> Self {
        Self { v4: self.v4.intersect(&other.v4), v6: self.v6.intersect(&other.v6) }
    }

    /// The fewest networks that make up the set; `None` where it is every address.
    pub(super) fn list(&self) -> Option<Vec<IpNet>> {
        let all = [IpNet::from(Ipv4Net::default()), IpNet::from(Ipv6Net::default())];
        Some(self.all()).filter(|list| *list != all)
    }

    /// The fewest networks that make up the set, in ascending order.
    pub(super) fn all(&self) -> Vec<IpNet> {
        let (mut v4, mut v6) = (self.v4.clone(), self.v6.clone());
        v4.simplify();
        v6.simplify();
        let mut list: Vec<IpNet> = v4.iter().map(IpNet::from).chain(v6.iter().map(IpNet::from)).collect();
        list.sort_unstable();
        list
    }
}
