//! Policy file -> policy: every name is looked up, every value checked, all problems collected.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;

use super::{
    Allow, Binding, Deployment, Enforcement, Flows, InterfacePolicy, Policy, Settings,
    file::{AddressTable, AllowDirection, AllowTable, InterfaceTable, PolicyFile, PortsValue, TypeValue},
    protocol::{self, Named},
    selection::is_interface_name,
};
use crate::{
    catalog::Catalog,
    problem::{Collector, Problems},
    requirement::{PortRange, Protocol, ValueError},
    ruleset::{Opening, Way},
};

/// The only version of the language so far.
const VERSION: u32 = 1;

pub(super) fn resolve(
    parsed: PolicyFile,
    text: &str,
    file: &str,
    catalog: &Catalog,
) -> Result<Policy, Problems> {
    let mut resolver = Resolver {
        problems: Collector::new(text, file),
        catalog,
        peers: BTreeMap::new(),
        flows: Flows::STANDARD,
        has_gateway: false,
    };
    if *parsed.version.get_ref() != VERSION {
        let message = format!("version {} of the policy language is not known", parsed.version.get_ref());
        resolver.problems.add(&parsed.version.span(), message, Some(format!("write `version = {VERSION}`")));
    }
    resolver.peers(parsed.peers);
    resolver.flows = Flows::resolve(&parsed.flows, &mut resolver.problems);
    resolver.has_gateway = parsed.interface.iter().any(|table| table.deployment == Deployment::Gateway);
    let mut names = BTreeSet::new();
    let mut interfaces = Vec::new();
    for table in parsed.interface {
        let (span, name) = (table.name.span(), table.name.get_ref().clone());
        if !names.insert(name.clone()) {
            let help = Some("put all its roles into one `[[interface]]`".to_owned());
            resolver.problems.add(&span, format!("interface `{name}` stands here twice"), help);
        }
        interfaces.push(resolver.interface(table));
    }
    if interfaces.is_empty() {
        let help = "add `[[interface]]` with `name` and `roles`".to_owned();
        resolver.problems.add(&parsed.version.span(), "the policy names no interface", Some(help));
    }
    resolver.problems.finish(Policy { file: file.to_owned(), interfaces })
}

pub(super) struct Resolver<'a> {
    pub(super) problems: Collector<'a>,
    catalog: &'a Catalog,
    peers: BTreeMap<String, Vec<IpNet>>,
    flows: Flows,
    /// Whether some interface is a gateway's.
    has_gateway: bool,
}

impl Resolver<'_> {
    fn peers(&mut self, tables: BTreeMap<String, Spanned<Vec<Spanned<String>>>>) {
        for (name, networks) in tables {
            if networks.get_ref().is_empty() {
                // An empty list must never come to mean "any source".
                let help = "list their networks, or remove the name: then any source is meant".to_owned();
                self.problems.add(&networks.span(), format!("the peers `{name}` are empty"), Some(help));
            }
            let networks = networks.get_ref().iter().filter_map(|network| self.network(network)).collect();
            self.peers.insert(name, networks);
        }
    }

    fn interface(&mut self, table: InterfaceTable) -> InterfacePolicy {
        let span = table.name.span();
        let name = table.name.get_ref().clone();
        if !is_interface_name(&name) {
            let message = format!("`{name}` cannot be the name of an interface");
            self.problems.add(&span, message, Some("`ip link` lists the interfaces".to_owned()));
        }
        let mut bindings = self.bindings(&table.roles, table.parameters, None);
        let mut allows = self.allows(table.allow, None);
        let addresses = table.address;
        for AddressTable { address, roles, parameters, allow } in &addresses {
            let (roles, parameters, allow) = (roles, parameters.clone(), allow.clone());
            let local = self.address(address);
            bindings.extend(self.bindings(roles, parameters, local));
            allows.extend(self.allows(allow, local));
        }
        self.unique_names(&allows);
        self.count_ether_types(&allows);
        let place = self.problems.place(&span);
        let InterfaceTable { mode, dhcp, outbound, deployment, unreadable, .. } = table;
        if deployment == Deployment::Gateway && !addresses.is_empty() {
            let help = "remove them: what passes is addressed to others; an allow may say `to`".to_owned();
            self.problems.add(&span, "a gateway has no roles for local addresses", Some(help));
        }
        for allow in &allows {
            self.limits(allow, outbound, deployment);
        }
        let transit = self.has_gateway && deployment == Deployment::Host;
        let settings = Settings { mode, outbound, dhcp, deployment, transit, unreadable, flows: self.flows };
        InterfacePolicy { name, place, settings, bindings, allows }
    }

    fn address(&mut self, text: &Spanned<String>) -> Option<IpAddr> {
        let parsed = text.get_ref().parse().ok();
        if parsed.is_none() {
            let message = format!("`{}` is no IP address", text.get_ref());
            self.problems.add(&text.span(), message, Some("write one address, as `203.0.113.10`".to_owned()));
        }
        parsed
    }

    fn bindings(
        &mut self,
        roles: &[Spanned<String>],
        parameters: BTreeMap<Spanned<String>, Spanned<PortsValue>>,
        address: Option<IpAddr>,
    ) -> Vec<Binding> {
        let known: Vec<&Spanned<String>> = roles.iter().filter(|role| self.role(role)).collect();
        let values = self.parameters(&known, parameters);
        let bind = |role: &Spanned<String>| Binding {
            role: role.get_ref().clone(),
            place: self.problems.place(&role.span()),
            address,
            parameters: values.clone(),
            peers: self.peers.clone(),
        };
        known.into_iter().map(bind).collect()
    }

    /// Whether the catalog knows the role.
    fn role(&mut self, role: &Spanned<String>) -> bool {
        match self.catalog.role(role.get_ref()) {
            Ok(_) => true,
            Err(error) => {
                self.problems.add(&role.span(), error.what(), Some(error.help()));
                false
            }
        }
    }

    /// The values of the parameters, each checked against the bounds that the roles' documents state.
    fn parameters(
        &mut self,
        roles: &[&Spanned<String>],
        values: BTreeMap<Spanned<String>, Spanned<PortsValue>>,
    ) -> BTreeMap<String, PortRange> {
        let mut bounds: BTreeMap<String, PortRange> = BTreeMap::new();
        for role in roles {
            let Ok(view) = self.catalog.role(role.get_ref()) else { continue };
            for row in view.requirements() {
                if let Some(parameter) = &row.requirement.parameter
                    && let Ok(range) = PortRange::new(parameter.min, parameter.max)
                {
                    bounds.insert(parameter.name.clone(), range);
                }
            }
        }
        let mut checked = BTreeMap::new();
        for (name, value) in values {
            let Some(bound) = bounds.get(name.get_ref()) else {
                let known: Vec<String> = bounds.keys().map(|name| format!("`{name}`")).collect();
                let help = if known.is_empty() {
                    "the documents of these roles have no parameters".to_owned()
                } else {
                    format!("the parameters of these roles are {}", known.join(", "))
                };
                self.problems.add(
                    &name.span(),
                    format!("`{}` is no parameter of these roles", name.get_ref()),
                    Some(help),
                );
                continue;
            };
            let ranges = self.ports(&value);
            let [range] = ranges.as_slice() else {
                if !ranges.is_empty() {
                    self.problems.add(
                        &value.span(),
                        "a parameter is one range of ports",
                        Some("write `\"50000-51000\"`".to_owned()),
                    );
                }
                continue;
            };
            if bound.covers(*range) {
                checked.insert(name.get_ref().clone(), *range);
            } else {
                let message =
                    format!("{range} lies outside of what the document permits for `{}`", name.get_ref());
                self.problems.add(&value.span(), message, Some(format!("stay within {bound}")));
            }
        }
        checked
    }

    fn allows(&mut self, tables: Vec<AllowTable>, address: Option<IpAddr>) -> Vec<Allow> {
        tables.into_iter().map(|table| self.allow(table, address)).collect()
    }

    fn allow(&mut self, table: AllowTable, address: Option<IpAddr>) -> Allow {
        let place = self.problems.place(&table.name.span());
        let span = table.protocol.span();
        if table.name.get_ref().trim().is_empty() {
            let help = "name what it is for, as `ssh`: its counter is known by the name".to_owned();
            self.problems.add(&table.name.span(), "an allow needs a name", Some(help));
        }
        let mut openings = Vec::new();
        let (mut ports_used, mut types_used) = (false, false);
        // Protocols whose ports are not read.
        let mut whole = Vec::new();
        let protocols = table.protocol.get_ref().clone().into_vec();
        if protocols.is_empty() {
            self.problems.add(&span, "no protocol is listed", Some("write `\"tcp\"`".to_owned()));
        }
        for name in protocols {
            let Some(named) = protocol::protocol(&name) else {
                let help = format!("use {} or `ip` and a number, as `ip47`", protocol::protocol_names());
                self.problems.add(&span, format!("`{name}` is no protocol"), Some(help));
                continue;
            };
            match named {
                Named::Tcp | Named::Udp | Named::Sctp => {
                    ports_used = true;
                    let Some(ports) = &table.ports else {
                        let help = "add `ports = \"443\"`, or `ports = \"0-65535\"` for all".to_owned();
                        self.problems.add(&span, format!("`{name}` needs `ports`"), Some(help));
                        continue;
                    };
                    let open = match named {
                        Named::Tcp => Opening::Tcp,
                        Named::Udp => Opening::Udp,
                        _ => Opening::Sctp,
                    };
                    openings.extend(self.ports(ports).into_iter().map(open));
                }
                Named::Icmp | Named::Icmpv6 => {
                    types_used = true;
                    openings.extend(self.icmp(named, table.types.as_ref(), &span));
                }
                Named::EtherType => {
                    types_used = true;
                    openings.extend(self.ether_types(&table, address));
                }
                Named::Answers => openings.push(Opening::Answers),
                Named::Number(number) => {
                    whole.extend((!Protocol::Ip(number).is_portless()).then(|| name.clone()));
                    openings.push(Opening::Protocol(number));
                }
            }
        }
        let sources = self.allowed("from", table.from.as_ref());
        let destinations = self.allowed("to", table.to.as_ref());
        let way = match table.direction {
            AllowDirection::In => Way::Arriving,
            AllowDirection::Out => Way::Leaving,
        };
        if let (Some(ports), [name, ..]) = (&table.ports, whole.as_slice()) {
            let help = format!(
                "ports are read of `tcp`, `udp` and `sctp` alone: give `{name}` an allow of its own without `ports`, \
                 which opens the whole protocol"
            );
            self.problems.add(&ports.span(), format!("no ports of `{name}` can be opened"), Some(help));
        }
        // With no protocol at all, that is the mistake to tell.
        ports_used |= !whole.is_empty();
        let (ports_used, types_used) = (ports_used || openings.is_empty(), types_used || openings.is_empty());
        if let Some(ports) = table.ports.filter(|_| !ports_used) {
            self.problems.add(
                &ports.span(),
                "only `tcp`, `udp` and `sctp` have ports",
                Some("remove `ports`".to_owned()),
            );
        }
        if let Some(types) = table.types.filter(|_| !types_used) {
            self.problems.add(
                &types.span(),
                "only `icmp`, `icmpv6` and `ethertype` have types",
                Some("remove `types`".to_owned()),
            );
        }
        Allow { name: table.name.into_inner(), place, way, openings, sources, destinations, address }
    }

    /// Whether the limits of an allow are those of its way.
    fn limits(&mut self, allow: &Allow, outbound: Option<Enforcement>, deployment: Deployment) {
        let is_of_answers = allow.openings.contains(&Opening::Answers);
        let (message, help) = match allow.way {
            Way::Leaving if is_of_answers => (
                "answers to what this host asks arrive: `group-answer` opens nothing that leaves",
                "remove `direction = \"out\"`",
            ),
            Way::Arriving if is_of_answers && deployment == Deployment::Gateway => (
                "a gateway's clients ask for themselves: `group-answer` is for questions of this host",
                "put the allow on an interface that is no gateway's",
            ),
            Way::Leaving if outbound.is_none() => (
                "an allow for what leaves, where leaving packets are not judged",
                "add `outbound = \"enforce\"` to the interface, or remove the allow",
            ),
            Way::Leaving if !allow.sources.is_empty() => (
                "what leaves comes from this host: `from` does not apply",
                "write `to`, or put the allow under `[[interface.address]]`",
            ),
            Way::Arriving if !allow.destinations.is_empty() && deployment == Deployment::Host => (
                "what arrives is for this host: `to` does not apply",
                "write `from`; or add `direction = \"out\"` if the allow is for what leaves",
            ),
            _ => return,
        };
        self.problems.add_at(allow.place, message, Some(help.to_owned()));
    }

    /// The networks that `from` or `to` lists; left out, it lists none, which means any.
    fn allowed(&mut self, key: &str, list: Option<&Spanned<Vec<Spanned<String>>>>) -> Vec<IpNet> {
        let Some(list) = list else { return Vec::new() };
        if list.get_ref().is_empty() {
            // As with peers, a list that was emptied must not come to mean "any".
            let (side, message) = if key == "from" {
                ("source", "no source is listed")
            } else {
                ("destination", "no destination is listed")
            };
            let help = format!("list networks or peers, or remove `{key}`: then any {side} is meant");
            self.problems.add(&list.span(), message, Some(help));
        }
        list.get_ref().iter().flat_map(|source| self.sources(source)).collect()
    }

    /// The networks behind an entry of `from` or `to`: a CIDR, an address, or the name of peers.
    fn sources(&mut self, source: &Spanned<String>) -> Vec<IpNet> {
        if let Some(networks) = self.peers.get(source.get_ref()) {
            return networks.clone();
        }
        self.network(source).into_iter().collect()
    }

    fn network(&mut self, text: &Spanned<String>) -> Option<IpNet> {
        let parse =
            |text: &str| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(network) = parse(text.get_ref()) else {
            let message = format!("`{}` is neither a network nor the name of peers", text.get_ref());
            let help =
                "write a network as `10.0.0.0/8` or `2001:db8::/32`, or a name from `[peers]`".to_owned();
            self.problems.add(&text.span(), message, Some(help));
            return None;
        };
        if network.trunc() != network {
            let message = format!("`{network}` has bits behind its prefix");
            self.problems.add(
                &text.span(),
                message,
                Some(format!(
                    "write `{}`, or `{}/{}` for the one address",
                    network.trunc(),
                    network.addr(),
                    network.max_prefix_len()
                )),
            );
        }
        Some(network.trunc())
    }

    fn icmp(
        &mut self,
        named: Named,
        types: Option<&Spanned<super::file::OneOrMany<TypeValue>>>,
        span: &Range<usize>,
    ) -> Vec<Opening> {
        let open = if named == Named::Icmp { Opening::Icmp } else { Opening::Icmpv6 };
        let Some(types) = types else {
            let help = "add `types = [\"echo-request\"]`".to_owned();
            self.problems.add(span, "`icmp` and `icmpv6` need `types`", Some(help));
            return Vec::new();
        };
        let mut openings = Vec::new();
        let values = types.get_ref().clone().into_vec();
        if values.is_empty() {
            let help = "write `types = [\"echo-request\"]`".to_owned();
            self.problems.add(&types.span(), "no types are listed", Some(help));
        }
        for value in values {
            let (number, given) = match value {
                TypeValue::Number(number) => (u8::try_from(number).ok(), number.to_string()),
                TypeValue::Name(name) => (protocol::icmp_type(named, &name), name),
            };
            match number {
                Some(number) => openings.push(open(number)),
                None => {
                    let help = format!("use a number from 0 to 255, or {}", protocol::icmp_type_names(named));
                    self.problems.add(
                        &types.span(),
                        format!("`{given}` is no type of this protocol"),
                        Some(help),
                    );
                }
            }
        }
        openings
    }

    /// Ports in any of the ways to write them.
    fn ports(&mut self, value: &Spanned<PortsValue>) -> Vec<PortRange> {
        let mut ranges = Vec::new();
        if let Err(error) = collect_ports(value.get_ref(), &mut ranges) {
            let (message, help) = match error {
                ValueError::Reversed(first, last) => {
                    (format!("`{first}-{last}` ends before it starts"), format!("write `{last}-{first}`"))
                }
                ValueError::Ports(text) | ValueError::Protocol(text) => (
                    format!("`{text}` is no port"),
                    "write ports from 0 to 65535, as `443`, `\"80,443\"` or `\"5000-5100\"`".to_owned(),
                ),
            };
            self.problems.add(&value.span(), message, Some(help));
        } else if ranges.is_empty() {
            self.problems.add(&value.span(), "no ports are listed", Some("write `\"443\"`".to_owned()));
        }
        ranges
    }

    fn unique_names(&mut self, allows: &[Allow]) {
        let mut seen = BTreeMap::new();
        for allow in allows {
            if let Some(first) = seen.insert(allow.name.clone(), allow.place) {
                let message =
                    format!("the name `{}` is taken by the allow in line {}", allow.name, first.line);
                let help = "give each allow its own name: its counter is known by it".to_owned();
                self.problems.add_at(allow.place, message, Some(help));
            }
        }
    }
}

fn collect_ports(value: &PortsValue, ranges: &mut Vec<PortRange>) -> Result<(), ValueError> {
    match value {
        PortsValue::Number(number) => {
            let port = u16::try_from(*number).map_err(|_| ValueError::Ports(number.to_string()))?;
            ranges.push(PortRange::single(port));
        }
        PortsValue::Text(text) => {
            for part in text.split(',') {
                ranges.push(part.trim().parse()?);
            }
        }
        PortsValue::List(values) => {
            for value in values {
                collect_ports(value, ranges)?;
            }
        }
    }
    Ok(())
}
