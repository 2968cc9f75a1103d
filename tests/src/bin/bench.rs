//! Nanoseconds a packet, above a program that does nothing.
fn main() -> anyhow::Result<()> {
    use portcullis::{datapath::*, tables::Tables};
    use portcullis_tests::{lab::Lab, packet::*};
    use std::time::Instant;
    let lab = Lab::enter()?;
    let _peer = lab.neighbour("edge0", "peer0")?;
    let mut tables = Tables::deny_all();
    tables.classes[portcullis_common::class::TCP + portcullis_common::class::port_index(443)] = 64;
    tables.classes[portcullis_common::class::UDP + portcullis_common::class::port_index(3478)] = 65;
    let pins = Pins::new(&Lab::bpffs(), "edge0");
    let attachment = Attachment::new("edge0", pins.clone());
    attachment.prepare(false)?;
    let mut programs = Programs::load(&tables, &LoadOptions::default(), Some(&pins))?;
    println!("{:?}", attachment.attach(&mut programs)?);
    for ip in Ip::BOTH {
        for (name, frame) in [
            ("allowed tcp", Frame::syn(ip, 443)),
            ("allowed udp", Frame::udp(ip, 3478)),
            ("syn", Frame::syn(ip, 444)),
            ("ack", Frame::ack(ip, 444)),
            ("udp", Frame::udp(ip, 444)),
            ("vlan tcp", Frame::syn(ip, 443).tagged(&[5])),
            ("qinq tcp", Frame::syn(ip, 443).tagged(&[5, 6])),
        ] {
            let bytes = frame.bytes();
            let mut best = f64::MAX;
            let mut action = 9;
            for _ in 0..10 {
                let start = Instant::now();
                action = programs.judge(&bytes, 1_000_000)?.0;
                best = best.min(start.elapsed().as_nanos() as f64 / 1e6);
            }
            println!("{ip:?} {name}: action {action} {best:.2} ns");
        }
    }
    let totals = programs.totals(100)?;
    for (slot, counter) in totals.used() {
        println!("{slot} {counter:?}");
    }
    Ok(())
}
