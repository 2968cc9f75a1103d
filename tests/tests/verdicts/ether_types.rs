//! Frames that carry neither IP nor ARP, and those of them that rules name.

use anyhow::Result;
use portcullis::{
    compile,
    datapath::{LoadOptions, Role, SecondSet},
    policy::{Enforcement, Settings, Unreadable, Wish},
};
use portcullis_common::slot::Reason;
use portcullis_tests::{
    host::Host,
    judge,
    lab::Lab,
    packet::{Frame, Ip},
    rules, splice,
};

use crate::{Case, check, reason, rule};

/// PTP twice; an EtherType that only leaves; and limits, which no frame without addresses is within.
const RULES: &str = "
    ethertype/0x88f7 ethertype/0x8892
    ethertype/0x88f7 tcp/443
    out ethertype/0x88ca
    ethertype/0x88cc from 198.51.100.0/24
    ethertype/0x88cc at 203.0.113.1
    out ethertype/0x88f7
";

fn frame(ether_type: u16) -> Vec<u8> {
    splice::plain(ether_type, &[0x45; 46])
}

fn cases(closed: Reason) -> Vec<Case> {
    let control = splice::set(&splice::set(&frame(0x88f7), 0, 0x01), 1, 0x80);
    let control = splice::set(&splice::set(&splice::set(&control, 2, 0xc2), 5, 0x0e), 3, 0);
    let (once, twice) = (splice::tag(&frame(0x88f7), 0x8100, 5), splice::tag(&frame(0x88f7), 0x88a8, 5));
    let twice = splice::tag(&splice::tag(&twice[..], 0x8100, 6)[..], 0x8100, 7);
    vec![
        ("one that two rules name counts under the first", frame(0x88f7), rule(0)),
        ("another of the same rule", frame(0x8892), rule(0)),
        ("one byte more", frame(0x88f8), reason(closed)),
        ("its bytes swapped", frame(0xf788), reason(closed)),
        ("one that may only leave", frame(0x88ca), reason(closed)),
        ("one that is limited to addresses", frame(0x88cc), reason(closed)),
        ("an 802.3 length", frame(46), reason(closed)),
        ("zero, as unused places of the list hold", frame(0), reason(closed)),
        ("behind a tag", once, rule(0)),
        ("behind three tags", twice, reason(Reason::VlanDepth)),
        ("nothing but its header", splice::plain(0x88f7, &[]), rule(0)),
        ("as a control frame of the link", control, reason(Reason::LinkControl)),
        ("IP is judged by what it carries", Frame::syn(Ip::V4, 443).bytes(), rule(1)),
        ("ARP", splice::plain(0x0806, &[0; 28]), reason(Reason::Arp)),
    ]
}

/// Holds: policy 13.
#[test]
fn named_ether_types_pass_and_no_others() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    check(&rules::parse(RULES), &judge::options(), &cases(Reason::NonIp))?;
    let unreadable = Unreadable { non_ip: Wish::Accept, ..Unreadable::DROP };
    let settings = Settings { unreadable, ..judge::settings() };
    check(&rules::parse(RULES), &LoadOptions::with(settings), &cases(Reason::NonIpAccepted))
}

#[test]
fn sixteen_ether_types_fit_and_seventeen_do_not() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let named =
        |count: u16| (0..count).map(|n| format!("ethertype/{:#06x} ", 0x9000 + n)).collect::<String>();
    let sixteen = rules::parse(&named(16));
    let cases = (0..16).map(|n| ("one of sixteen", frame(0x9000 + n), rule(0)));
    let cases: Vec<Case> = cases.chain([("none of them", frame(0x9010), reason(Reason::NonIp))]).collect();
    check(&sixteen, &judge::options(), &cases)?;
    let more = rules::parse(&named(17));
    let refused = compile::compile(&more, &judge::slots(&more)).expect_err("seventeen");
    assert_eq!(refused, compile::CompileError::TooManyEtherTypes);
    Ok(())
}

/// Two sets share one list, in which the second one's EtherTypes stand elsewhere than in its own.
#[test]
fn a_second_set_knows_its_own_ether_types_alone() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let set = |text: &str| {
        let rules = rules::parse(text);
        let tables = compile::compile(&rules, &judge::slots(&rules)).expect("few").tables;
        Some(SecondSet { tables, settings: judge::settings(), role: Role::After(0) })
    };
    // The second one decides from the beginning of time on.
    let first = "ethertype/0x88cc ethertype/0x8893\nethertype/0x8892 ethertype/0x88ff\nout ethertype/0x8892";
    let options = LoadOptions { second: set(RULES), ..judge::options() };
    let mut kernel = judge::Judge::new(&rules::parse(first), &options)?;
    for (says, frame, verdict) in cases(Reason::NonIp) {
        if let Err(other) = kernel.alone(&frame, verdict)? {
            panic!("{says}: {other}\n{frame:02x?}");
        }
    }
    kernel.finish()?;
    let many: String = (0..16).map(|n| format!("ethertype/{:#06x} ", 0x9000 + n)).collect();
    let options = LoadOptions { second: set(&many), ..judge::options() };
    let refused = judge::Judge::new(&rules::parse(RULES), &options).map(drop).expect_err("too many together");
    assert!(format!("{refused:#}").contains("more than 16 EtherTypes"), "{refused:#}");
    Ok(())
}

/// Holds: policy 15.
#[test]
fn named_ether_types_leave_and_no_others() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    for (unreadable, closed) in [
        (Unreadable::DROP, Reason::OutboundNonIp),
        (Unreadable { non_ip: Wish::Accept, ..Unreadable::DROP }, Reason::OutboundNonIpAccepted),
    ] {
        let settings = Settings { outbound: Some(Enforcement::Enforce), unreadable, ..judge::settings() };
        let rules = rules::parse(RULES);
        let mut host = Host::new(&rules, &LoadOptions::with(settings))?;
        for (says, ether_type, verdict) in [
            ("one that may leave", 0x88ca, rule(2)),
            ("one that may do both", 0x88f7, rule(5)),
            ("one that may only arrive", 0x8892, reason(closed)),
            ("one that is limited to addresses", 0x88cc, reason(closed)),
            ("one that no rule names", 0x88f8, reason(closed)),
        ] {
            host.lets_out(says, &frame(ether_type), verdict)?;
        }
        host.kernel.finish()?;
    }
    Ok(())
}
