//! Rules that are limited to some addresses -> those whose limit keeps nobody out.
//!
//! All rules accept, whatever their order: where a second one opens the same to anybody, the first one's `from`
//! says what is not so.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    requirement::PortRange,
    ruleset::{Opening, Rule, RuleSet},
};

/// A limit that another rule makes void.
pub(super) struct Cancelled<'a> {
    /// Whose limit it is.
    pub(super) rule: &'a Rule,
    /// Which limit.
    pub(super) end: End,
    /// What is open without it, by each rule that opens it.
    pub(super) by: Vec<(&'a Rule, Vec<Opening>)>,
}

/// The end of a packet that rules are limited at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Sources: `from`.
    From,
    /// Destinations: `to`.
    To,
}

/// Every limit that is void.
pub(super) fn cancelled(rules: &RuleSet) -> Vec<Cancelled<'_>> {
    let mut all = Vec::new();
    for end in [End::From, End::To] {
        let open: Vec<&Rule> = rules.rules.iter().filter(|rule| end.whole(rule) != [false; 2]).collect();
        for rule in rules.rules.iter().filter(|rule| end.limited(rule) != [false; 2]) {
            let by: Vec<(&Rule, Vec<Opening>)> = open
                .iter()
                .filter(|other| end.voids(other, rule))
                .map(|other| (*other, common(other, rule)))
                .filter(|(_, openings)| !openings.is_empty())
                .collect();
            if !by.is_empty() {
                all.push(Cancelled { rule, end, by });
            }
        }
    }
    all
}

impl End {
    fn of(self, rule: &Rule) -> &[IpNet] {
        match self {
            Self::From => &rule.sources,
            Self::To => &rule.destinations,
        }
    }

    /// Whether a rule holds for every address of IPv4, and of IPv6.
    fn whole(self, rule: &Rule) -> [bool; 2] {
        let nets = self.of(rule);
        let whole =
            |is_v4| nets.is_empty() || nets.iter().any(|net| net.prefix_len() == 0 && of_v4(net) == is_v4);
        [whole(true), whole(false)]
    }

    /// Whether it holds for some of them alone.
    fn limited(self, rule: &Rule) -> [bool; 2] {
        let [v4, v6] = self.whole(rule);
        let some = |is_v4| self.of(rule).iter().any(|net| of_v4(net) == is_v4);
        [!v4 && some(true), !v6 && some(false)]
    }

    /// Whether packets that `rule` does not accept because of this limit are accepted by `other`, as far as
    /// addresses say.
    fn voids(self, other: &Rule, rule: &Rule) -> bool {
        let beyond =
            self.whole(other).iter().zip(self.limited(rule)).any(|(whole, limited)| *whole && limited);
        let end = if self == Self::From { Self::To } else { Self::From };
        let within = |net: &IpNet| end.of(other).iter().any(|wider| wider.contains(net));
        let elsewhere =
            end.of(other).is_empty() || !end.of(rule).is_empty() && end.of(rule).iter().all(within);
        let meet = |one: Option<IpAddr>, two: Option<IpAddr>| one.is_none() || two.is_none() || one == two;
        beyond && elsewhere && other.way == rule.way && meet(other.address, rule.address)
    }
}

fn of_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

/// What both rules open.
fn common(one: &Rule, two: &Rule) -> Vec<Opening> {
    let meet = |a: PortRange, b: PortRange| PortRange::new(a.lo().max(b.lo()), a.hi().min(b.hi())).ok();
    let pairs = one.openings.iter().flat_map(|a| two.openings.iter().map(move |b| (*a, *b)));
    let mut openings: Vec<Opening> = pairs
        .filter_map(|pair| match pair {
            (Opening::Tcp(a), Opening::Tcp(b)) => meet(a, b).map(Opening::Tcp),
            (Opening::Udp(a), Opening::Udp(b)) => meet(a, b).map(Opening::Udp),
            (Opening::Sctp(a), Opening::Sctp(b)) => meet(a, b).map(Opening::Sctp),
            (a, b) => (a == b).then_some(a),
        })
        .collect();
    openings.dedup();
    openings
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, findings};
    use crate::{catalog::Catalog, policy::Policy};

    /// What is said of void limits in a policy with these allows, each `name ports [key = networks]`.
    fn told(more: &str, allows: &[&str]) -> Vec<String> {
        let allow = |line: &&str| {
            let (name, rest) = line.split_once(' ').expect("a name");
            let (ports, limit) = rest.split_once(' ').unwrap_or((rest, ""));
            format!(
                "[[interface.allow]]\nname = \"{name}\"\nprotocol = \"tcp\"\nports = \"{ports}\"\n{limit}\n"
            )
        };
        let allows: String = allows.iter().map(allow).collect();
        let text = format!("version = 1\n[[interface]]\nname = \"edge0\"\n{more}{allows}");
        let catalog = Catalog::default();
        let policy = Policy::parse(&text, "policy.toml", &catalog).unwrap_or_else(|error| panic!("{error}"));
        let found = findings(&policy, &catalog).expect("it fits");
        found
            .into_iter()
            .filter(|finding| finding.kind == Kind::Unlimited)
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn a_limit_that_another_allow_cancels_is_told() {
        let from = r#"ssh 22 from = ["10.0.0.0/8"]"#;
        for (allows, expected) in [
            (
                &[from, "all 20-30"][..],
                "tcp/22 is open to anybody, whatever the `from` of `ssh` says: `all` (line 10) opens it too",
            ),
            (&[from, r#"all 22 from = ["0.0.0.0/0"]"#], "tcp/22 is open to anybody"),
            (
                &[r#"web 80-90 from = ["2001:db8::/32"]"#, "a 80", "b 85-99"],
                "tcp/80, tcp/85-90 is open to anybody",
            ),
        ] {
            let told = told("", allows);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(expected), "{told:?}");
        }
    }

    #[test]
    fn a_limit_that_holds_is_not_told() {
        for allows in [
            &[r#"ssh 22 from = ["10.0.0.0/8"]"#, "web 443"][..],
            &[r#"ssh 22 from = ["10.0.0.0/8"]"#, r#"more 22 from = ["192.0.2.0/24"]"#],
            &[r#"ssh 22 from = ["10.0.0.0/8"]"#, r#"six 22 from = ["::/0"]"#],
            &["ssh 22", "again 22"],
        ] {
            assert_eq!(told("", allows), [""; 0], "{allows:?}");
        }
    }

    #[test]
    fn a_destination_that_another_allow_cancels_is_told() {
        let out = r#"dns 53 direction = "out"
to = ["192.0.2.53"]"#;
        let all = r#"all 1-1000 direction = "out""#;
        let told = told("outbound = \"enforce\"\n", &[out, all]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("tcp/53 may go anywhere, whatever the `to` of `dns` says"), "{told:?}");
    }
}
