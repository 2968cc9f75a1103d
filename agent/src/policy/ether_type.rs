//! EtherTypes that an allow may name, by number or as those who use them call them.

use std::{collections::BTreeSet, net::IpAddr};

use portcullis_common::class;

use super::{
    Allow,
    file::{AllowTable, OneOrMany, TypeValue},
    resolve::Resolver,
};
use crate::ruleset::Opening;

/// Registered EtherTypes (IEEE Registration Authority) of protocols that hosts speak next to IP.
const NAMES: &[(&str, u16)] = &[
    ("wake-on-lan", 0x0842),
    ("avtp", 0x22f0),
    ("batman", 0x4305),
    ("mpls", 0x8847),
    ("pppoe-discovery", 0x8863),
    ("pppoe-session", 0x8864),
    ("eapol", 0x888e),
    ("profinet", 0x8892),
    ("aoe", 0x88a2),
    ("ethercat", 0x88a4),
    ("powerlink", 0x88ab),
    ("goose", 0x88b8),
    ("gse", 0x88b9),
    ("sv", 0x88ba),
    ("tipc", 0x88ca),
    ("lldp", 0x88cc),
    ("sercos", 0x88cd),
    ("mrp", 0x88e3),
    ("macsec", 0x88e5),
    ("ptp", 0x88f7),
    ("prp", 0x88fb),
    ("cfm", 0x8902),
    ("fcoe", 0x8906),
    ("fip", 0x8914),
    ("roce", 0x8915),
    ("hsr", 0x892f),
];

/// What is judged in another way, and how.
const JUDGED_OTHERWISE: &[(u16, &str, &str)] = &[
    (0x0800, "IPv4", "its packets are judged by what they carry: allow ports, types or protocols"),
    (0x86dd, "IPv6", "its packets are judged by what they carry: allow ports, types or protocols"),
    (0x0806, "ARP", "it always passes: remove it"),
    (
        0x8100,
        "the VLAN tag",
        "frames are judged by what follows up to two tags: name the EtherType after them",
    ),
    (
        0x88a8,
        "the service VLAN tag",
        "frames are judged by what follows up to two tags: name the EtherType after them",
    ),
];

/// Where EtherTypes begin: lower values are lengths (IEEE 802.3-2022 section 3.2.6).
const FIRST: u16 = 0x0600;

impl Resolver<'_> {
    /// What an allow for EtherTypes opens. Its frames carry no IP, so nothing that is said of IP goes with it.
    pub(super) fn ether_types(&mut self, table: &AllowTable, address: Option<IpAddr>) -> Vec<Opening> {
        let protocol = table.protocol.span();
        if matches!(table.protocol.get_ref(), OneOrMany::Many(all) if all.len() > 1) {
            let help = "give it an allow of its own".to_owned();
            self.problems.add(&protocol, "`ethertype` stands together with other protocols", Some(help));
        }
        for (key, list) in [("from", &table.from), ("to", &table.to)] {
            if let Some(list) = list {
                let message = format!("frames of an EtherType have no IP addresses: `{key}` does not apply");
                self.problems.add(&list.span(), message, Some(format!("remove `{key}`")));
            }
        }
        if let Some(address) = address {
            let message = format!("frames of an EtherType are not for {address}: they have no IP addresses");
            let help = "put the allow under `[[interface.allow]]`".to_owned();
            self.problems.add(&protocol, message, Some(help));
        }
        let Some(types) = &table.types else {
            let help = "add `types = [\"ptp\"]`, or by number `types = [0x88f7]`".to_owned();
            self.problems.add(&protocol, "`ethertype` needs `types`", Some(help));
            return Vec::new();
        };
        let values = types.get_ref().clone().into_vec();
        if values.is_empty() {
            let help = "write `types = [\"ptp\"]`".to_owned();
            self.problems.add(&types.span(), "no types are listed", Some(help));
        }
        let mut openings = Vec::new();
        for value in values {
            match ether_type(&value) {
                Ok(number) => openings.push(Opening::EtherType(number)),
                Err((message, help)) => self.problems.add(&types.span(), message, Some(help)),
            }
        }
        openings
    }

    /// Refuses more EtherTypes than the kernel programs have room for.
    pub(super) fn count_ether_types(&mut self, allows: &[Allow]) {
        const MOST: usize = class::ETHER_TYPES;
        let mut named = BTreeSet::new();
        for allow in allows {
            let before = named.len();
            named.extend(allow.openings.iter().filter_map(|opening| match opening {
                Opening::EtherType(number) => Some(*number),
                _ => None,
            }));
            if before <= MOST && named.len() > MOST {
                let message =
                    format!("with `{}`, this interface names more than {MOST} EtherTypes", allow.name);
                let help = "name fewer, or accept all with `unreadable = { non-ip = \"accept\" }`".to_owned();
                self.problems.add_at(allow.place, message, Some(help));
            }
        }
    }
}

/// Why a value is no EtherType that can be allowed: the message, and what to do.
pub(super) type Refused = (String, String);

/// The EtherType that a value of `types` stands for.
pub(super) fn ether_type(value: &TypeValue) -> Result<u16, Refused> {
    let (number, given) = match value {
        TypeValue::Number(number) => (u16::try_from(*number).ok(), format!("{number:#06x}")),
        TypeValue::Name(name) => (by_name(name).or_else(|| digits(name)), name.clone()),
    };
    let Some(number) = number else {
        return Err((
            format!("`{given}` is no EtherType"),
            format!("write a number from 0x0600 to 0xffff, as `0x88f7`, or {}", names()),
        ));
    };
    if number < FIRST {
        return Err((
            format!("`{given}` is no EtherType: below 0x0600 stands the length of an 802.3 frame"),
            "frames with a length cannot be named; `unreadable = { non-ip = \"accept\" }` accepts them all"
                .into(),
        ));
    }
    match JUDGED_OTHERWISE.iter().find(|(other, ..)| *other == number) {
        Some((_, name, help)) => {
            Err((format!("`{given}` is {name}, which is not allowed by EtherType"), (*help).into()))
        }
        None => Ok(number),
    }
}

fn by_name(name: &str) -> Option<u16> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// A number in hexadecimal digits, as tools and standards write EtherTypes.
fn digits(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

fn names() -> String {
    NAMES.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_stand_for_ether_types_that_are_judged_by_nothing_else() {
        let read = |text: &str| ether_type(&TypeValue::Name(text.to_owned()));
        for (text, number) in [("ptp", 0x88f7), ("0x88F7", 0x88f7), ("0xffff", 0xffff), ("0x0600", 0x0600)] {
            assert_eq!(read(text), Ok(number), "{text}");
        }
        assert_eq!(ether_type(&TypeValue::Number(0x8892)), Ok(0x8892));
        for (text, says) in [
            ("profibus", "no EtherType"),
            ("0x", "no EtherType"),
            ("0x+88f", "no EtherType"),
            ("0x10000", "no EtherType"),
            ("88f7", "no EtherType"),
            ("0x05ff", "the length of an 802.3 frame"),
            ("0x0800", "is IPv4"),
            ("0x86dd", "is IPv6"),
            ("0x0806", "is ARP"),
            ("0x8100", "is the VLAN tag"),
            ("0x88a8", "is the service VLAN tag"),
        ] {
            assert!(read(text).is_err_and(|(message, _)| message.contains(says)), "{text}: {:?}", read(text));
        }
        let negative = ether_type(&TypeValue::Number(-1)).expect_err("a negative number");
        assert!(negative.0.contains("no EtherType"), "{negative:?}");
    }

    #[test]
    fn every_name_can_be_allowed() {
        for (name, number) in NAMES {
            assert_eq!(ether_type(&TypeValue::Name((*name).to_owned())), Ok(*number), "{name}");
        }
    }
}
