//! Resets that somebody forges who sees the ports of a conversation and not its numbers.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::Result;
use portcullis_tests::{
    draft::interface,
    operator::{Operator, lab},
    programs::soon,
    running::PATIENCE,
    tagged,
};

use crate::frames::{PEER4, TCP, V4, segment};

/// The time of a conversation that has ended, and more than that.
const CLOSING: u64 = 10;
const LONGER: Duration = Duration::from_secs(CLOSING + 3);
const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// The host does not believe them, so the conversation goes on, also after a silence (sentences 7 and 8).
///
/// Holds: policy 8.
#[test]
fn forged_resets_end_no_conversation() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.neighbour("edge0", "far0")?;
    // That of the frames.
    drop(lab.host().run("ip", &["link", "set", "edge0", "address", "02:00:00:00:00:01"])?);
    let operator = Operator::new(&lab)?;
    let text = format!("version = 1\n[flows]\ntcp-closing = {CLOSING}\n{}", interface("edge0", &[]));
    drop(operator.apply(&text).exits(0));
    let listener = neighbour.within(|| TcpListener::bind((PEER4, 9_000)))?;
    let mut client = TcpStream::connect((PEER4, 9_000))?;
    client.set_read_timeout(Some(PATIENCE))?;
    let (mut server, from) = listener.accept()?;
    let mut answered = |byte: u8| -> Result<()> {
        let mut heard = [0];
        server.write_all(&[byte])?;
        client.read_exact(&mut heard)?;
        assert_eq!(heard, [byte]);
        Ok(())
    };
    answered(1)?;

    let mut sender = neighbour.within(|| tagged::packets("far0"))?;
    let before = operator.packets("edge0", "flow-tcp");
    let mut sent = 0;
    for flags in [RST, RST | ACK, RST | FIN, FIN | ACK] {
        // Far from each other, and none likely to be in the window of 64 KiB.
        for number in 0..16_i32 {
            let bytes = segment(4, [9_000, from.port()], number.wrapping_mul(0x1357_9bdf), flags, &[]);
            sender.write_all(&V4::new(TCP).frame(&bytes))?;
            sent += 1;
        }
    }
    soon("the forged segments", || operator.packets("edge0", "flow-tcp") >= before + sent);
    // Silence, as that is what a conversation which has ended is given no time for.
    thread::sleep(LONGER);
    answered(2)?;
    Ok(())
}
