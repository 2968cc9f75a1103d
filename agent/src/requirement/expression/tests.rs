//! The grammar as a table of cells, and properties that every cell must have.

use proptest::prelude::*;

use super::*;

fn words() -> &'static Vocabulary {
    Vocabulary::standard().expect("the vocabulary is well-formed")
}

/// `tcp,udp 80 443-445 | …`, one piece a group.
fn shown(expression: &Expression) -> String {
    let groups = expression.groups.iter().map(|group| {
        let protocols: Vec<String> = group.protocols.iter().map(ToString::to_string).collect();
        let ports: Vec<String> = group.ports.iter().map(ToString::to_string).collect();
        let applications: Vec<&str> =
            group.applications.iter().map(|&index| words().applications[index].name.as_str()).collect();
        [protocols.join(","), ports.join(" "), applications.join("+")]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    groups.collect::<Vec<_>>().join(" | ")
}

fn read(text: &str) -> Expression {
    Expression::read(text, Context::Ports, words())
}

#[test]
fn reads_the_language_of_port_cells() {
    let cases = [
        // Singles, lists, ranges.
        ("443", "443"),
        ("80、443、1863", "80 443 1863"),
        ("25,465,587", "25 465 587"),
        ("67/68", "67 68"),
        ("80 y 443", "80 443"),
        ("80 und 443 oder 8080", "80 443 8080"),
        ("30000 ~ 65535", "30000-65535"),
        ("5004 – 65535", "5004-65535"),
        ("1024:65535", "1024-65535"),
        ("5000 bis 5010", "5000-5010"),
        ("5000 から 5010 まで", "5000-5010"),
        ("entre 5000 et 5010", "5000-5010"),
        ("с 5000 по 5010", "5000-5010"),
        ("5000至5010", "5000-5010"),
        ("5060-61", "5060-5061"),
        ("10.000÷20.000", "10000-20000"),
        ("20000 → 20015", "20000-20015"),
        ("80 → 8080", "80 8080"),
        ("dalla 5900 alla 5999", "5900-5999"),
        ("von 5900 bis 5999", "5900-5999"),
        ("desde 5900 hasta 5999", "5900-5999"),
        ("de 5900 jusqu’à 5999", "5900-5999"),
        ("TCP\n80\n- 443", "tcp 80 | tcp 443"),
        ("6000+", "6000-65535"),
        ("1024 and above", "1024-65535"),
        ("> 1023", "1024-65535"),
        ("größer als 1023", "1024-65535"),
        ("1024以上", "1024-65535"),
        ("22, 1-65535", "22 1-65535"),
        ("22, 0-65535", "22 0-65535"),
        ("22, 0+", "22 0-65535"),
        ("1-65535", "1-65535"),
        ("0-65535", "0-65535"),
        ("443*1", "443"),
        ("443 ※1、80", "443 80"),
        ("443①, 80②", "443 80"),
        // Thousands.
        ("50,000 ～ 59,999", "50000-59999"),
        ("50.000-50.019", "50000-50019"),
        ("49 152 -57 500*", "49152-57500"),
        ("49\u{a0}152", "49152"),
        ("5,060", "5060"),
        ("22,443", "22 443"),
        ("10,102", "10102"),
        ("1,433", "1433"),
        ("57'500", "57500"),
        // Protocols before and behind.
        ("TCP 80, 443\nUDP 9, 7001", "tcp 80 443 | udp 9 7001"),
        ("TCP/UDP 30000 ~ 65535", "tcp,udp 30000-65535"),
        ("443/TCP (HTTPS), 80/TCP", "tcp 443 HTTPS | tcp 80"),
        ("53/UDP, 53/TCP (DNS)", "udp 53 | tcp 53 DNS"),
        ("143/TCP (IMAP), 993/TCP (secure IMAP)", "tcp 143 IMAP | tcp 993 IMAP"),
        ("6891-6900 (TCP)", "tcp 6891-6900"),
        ("TCP 5068/ TLS 5067", "tcp 5068 | tcp 5067 TLS"),
        ("UDP/TCP 5060, TLS 5061", "udp,tcp 5060 | tcp 5061 TLS"),
        ("UDP 5060, TLS 5061", "udp 5060 | 5061 TLS"),
        ("TCP(MTLS) 5061", "tcp 5061 MTLS"),
        ("UDP 3478; UDP 50.000-59.999", "udp 3478 | udp 50000-59999"),
        ("TCP 50.000-50.019 \n (Optional)", "tcp 50000-50019"),
        ("30000-32767 TCP / UDP\n(nodeport)", "tcp,udp 30000-32767"),
        ("TCP 53 / UDP", "tcp,udp 53"),
        ("TCP 80, 443,\n1863", "tcp 80 443 | tcp 1863"),
        ("TCP: 80 (HTTP), 443 (HTTPS)", "tcp 80 HTTP | tcp 443 HTTPS"),
        ("HTTP 80, HTTPS 443", "80 HTTP | 443 HTTPS"),
        ("HTTPS (443)", "443 HTTPS"),
        ("UDP および TCP", "udp,tcp"),
        ("TCP & UDP 53", "tcp,udp 53"),
        ("53\nTCP/UDP", "tcp,udp 53"),
        ("tcp/443", "tcp 443"),
        ("TCP443", "tcp 443"),
        ("Port 8080 (TCP)", "tcp 8080"),
        ("80/TCP, 443", "tcp 80 | tcp 443"),
        // Footnotes, remarks.
        ("1024-65535*", "1024-65535"),
        ("443 (3)", "443"),
        ("443 TCP [1]", "tcp 443"),
        ("80 TCP (Ingress)", "tcp 80"),
        ("443 (since version 10)", "443"),
        ("6443 from node 2", "6443"),
        ("see RFC 5424", ""),
        ("514 (RFC 5424)", "514"),
        ("514, see RFCs 3164 and 5424", "514"),
        ("siehe Seite 12", ""),
        ("Version: 2019", ""),
        ("см. раздел 5, 443", "443"),
        ("page 8080/TCP", "tcp 8080"),
        ("8080 (default)", "8080"),
        // Words.
        ("任意", "any"),
        ("TCP beliebig", "tcp any"),
        ("Jegliche***", "any"),
        ("*", "any"),
        ("dynamic", "dynamic"),
        ("dynamic (49152-65535)", "49152-65535"),
        ("Défini par l’utilisateur", "unspecified"),
        ("N/A", ""),
        ("–", ""),
        // Protocols without ports.
        ("GRE (47)", "ip47"),
        ("IP protocol 50", "ip50"),
        ("ESP", "ip50"),
        ("ICMP", "ip1"),
        ("SCTP 36412", "ip132 36412"),
        ("ICMP type 8", "ip1"),
        ("ICMP type 8, code 0", "ip1"),
        ("ICMP 8/0", "ip1"),
        ("TCP 443, ICMP type 8, code 0", "tcp 443 | ip1"),
        ("ESP, UDP 500", "ip50 | udp 500"),
        ("ESP and UDP 500, UDP 4500", "ip50 | udp 500 | udp 4500"),
        ("protocollo IP 50 (ESP), UDP 500 e UDP 4500", "ip50 | udp 500 | udp 4500"),
        ("500/UDP, ESP, 4500/UDP", "udp 500 | ip50 | udp 4500"),
        ("53/TCP/UDP, ICMP", "tcp,udp 53 | ip1"),
        // Addresses.
        ("2001:db8::1 TCP 443", "tcp 443"),
        ("[fe80::1]:443", "443"),
        ("2001:db8::/32", ""),
        // Beyond the last port.
        ("1024-65536", "1024-65536"),
        ("10.0.0.0/8", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(&read(text)), expected, "{text:?} {:?}", read(text));
    }
}

#[test]
fn reads_protocol_columns() {
    let cases = [
        ("TCP", "tcp"),
        ("TCP (TLS)", "tcp TLS"),
        ("HTTPS \n TCP", "HTTPS | tcp"),
        ("SMB と TCP", "tcp SMB"),
        ("DCOM およびリモート プロシージャ コール (RPC)", "DCOM+RPC"),
        ("TCP (STUN/MSTURN)", "tcp STUN+MSTURN"),
        ("TCP - for the sake of it", "tcp"),
        ("TCP (TLS) および TCP (MTLS)", "tcp TLS+MTLS"),
        ("Any", "any"),
        ("6", "tcp"),
        ("47 (GRE)", "ip47"),
        ("HTTPS (from the proxy)", "HTTPS"),
        ("DHCP", "DHCP"),
    ];
    for (text, expected) in cases {
        let expression = Expression::read(text, Context::Protocols, words());
        assert_eq!(shown(&expression), expected, "{text:?} {expression:?}");
    }
}

#[test]
fn reports_what_it_cannot_read() {
    assert_eq!(read("70000").problems, [Problem::OutOfRange(70000)]);
    assert_eq!(read("0-0").problems, [Problem::OutOfRange(0)]);
    assert_eq!(read("above 99999999999").problems, [Problem::OutOfRange(u32::MAX)]);
    assert_eq!(read("1024-65536").problems, [Problem::OutOfRange(65536)]);
    assert!(matches!(read("6000-5000").problems[..], [Problem::Reversed(6000, 5000, _)]));
    for (text, port, other) in [
        ("8080->80/tcp", 8080, 80),
        ("19123:9123", 19123, 9123),
        ("8443 => 443", 8443, 443),
        ("80:8080", 80, 8080),
    ] {
        let expression = read(text);
        assert_eq!(expression.problems, [Problem::Mapped(port, other)], "{text}");
        let ports: Vec<_> = expression.groups.iter().flat_map(|group| group.ports.clone()).collect();
        assert_eq!(ports, [port.to_string().parse::<Ports>().expect("a port")], "{text}");
    }
    assert!(read("1024:65535").problems.is_empty());
    assert!(matches!(read("30,123").problems[..], [Problem::Ambiguous(..)]));
    for text in ["443, 80", "ICMP type 8, code 0", "8/0 (ICMP)", "TCP 443, ICMP type 0"] {
        assert!(read(text).problems.is_empty(), "{text}");
    }
}

#[test]
fn tells_port_language_from_prose() {
    for (text, complete) in [
        ("TCP 443", true),
        ("443, 80 und 22", true),
        ("5 nodes in 2 sites", false),
        ("Web", false),
        ("TCP 443 (HTTPS)", true),
        ("n/a", true),
    ] {
        assert_eq!(read(text).is_complete(), complete, "{text}");
    }
}

proptest! {
    /// Whatever stands in a cell, it is read without panic, and ranges are in order.
    #[test]
    fn never_panics(text in "\\PC{0,60}") {
        for context in [Context::Ports, Context::Protocols] {
            Expression::read(&text, context, words());
        }
    }

    #[test]
    fn never_panics_on_port_like_text(text in "[0-9TCPUD tcpud/,.;:()*\\-–~～、\n+>IPanybis]{0,40}") {
        Expression::read(&text, Context::Ports, words());
    }

    /// A list is read back, whatever mark parts it and wherever the protocol stands.
    #[test]
    fn lists_read_back(ports in prop::collection::vec(1_u16.., 1..6), mark in prop::sample::select(vec![", ", "、", "; ", " / ", " und ", " and ", "\n", " или "]), behind in any::<bool>()) {
        let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(mark);
        let text = if behind { format!("{list} TCP") } else { format!("TCP {list}") };
        let expression = read(&text);
        let found: Vec<Ports> = unique(expression.groups.iter().flat_map(|group| group.ports.iter().copied()));
        let expected: Vec<Ports> = unique(ports.iter().map(|&port| Ports::Range(super::super::PortRange::single(port))));
        prop_assert_eq!(found, expected, "{}", text);
        prop_assert!(expression.groups.iter().all(|group| group.protocols == [Protocol::Tcp]), "{}", text);
    }

    /// A range is read back, grouped by thousands or not.
    #[test]
    fn ranges_read_back(lo in 1_u16..65000, width in 1_u16..500, dash in prop::sample::select(vec!["-", " - ", "–", " ~ ", "～", " bis ", " to ", " a ", "から", ":"]), mark in prop::sample::select(vec!["", ",", ".", "'"])) {
        let hi = lo.saturating_add(width);
        let group = |port: u16| if port >= 1000 && lo >= 1000 && dash != ":" { format!("{}{mark}{:03}", port / 1000, port % 1000) } else { port.to_string() };
        let text = format!("{}{dash}{}", group(lo), group(hi));
        let range = super::super::PortRange::new(lo, hi).expect("ordered");
        let expression = read(&text);
        let ports: Vec<Ports> = expression.groups.iter().flat_map(|group| group.ports.iter().copied()).collect();
        prop_assert_eq!(ports, vec![Ports::Range(range)], "{}", text);
        prop_assert!(expression.is_complete());
    }
}
