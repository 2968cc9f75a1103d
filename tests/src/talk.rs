//! A conversation that goes on, over either transport, to a server that sends back what it receives.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::lab::Namespace;

/// A TCP connection and a connected UDP socket.
pub struct Talk {
    stream: TcpStream,
    socket: UdpSocket,
}

impl Talk {
    /// Begins one from `namespace` to an IPv4 server of both transports.
    ///
    /// # Errors
    ///
    /// Where nobody answers in time.
    pub fn begin(namespace: &Namespace, server: SocketAddr, patience: Duration) -> Result<Self> {
        namespace.within(|| {
            let stream = TcpStream::connect_timeout(&server, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(patience))?;
            Ok(Self { stream, socket })
        })
    }

    /// Says a word over both, and expects to hear it.
    ///
    /// # Errors
    ///
    /// Where that does not come in time.
    pub fn go_on(&mut self, word: &[u8; 4]) -> Result<()> {
        let mut answer = [0; 4];
        self.stream.write_all(word)?;
        self.stream.read_exact(&mut answer)?;
        ensure!(&answer == word, "over TCP");
        self.socket.send(word)?;
        self.socket.recv(&mut answer)?;
        ensure!(&answer == word, "over UDP");
        Ok(())
    }
}
