//! Real clients and servers: sockets in the lab's namespaces that exchange a few bytes.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::lab::Namespace;

/// How often a server looks whether it is to stop.
const POLL: Duration = Duration::from_millis(20);

/// Transport of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A server that sends back what it receives, until it is dropped.
pub struct EchoServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Serves `address` in `namespace`; listening when this returns.
    ///
    /// # Errors
    ///
    /// Where the address cannot be bound.
    pub fn start(namespace: &Namespace, protocol: Protocol, address: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let failed = || format!("cannot serve {protocol:?} {address}");
        let stopped = Arc::clone(&stop);
        let thread = match protocol {
            Protocol::Tcp => {
                let listener = namespace.within(|| TcpListener::bind(address)).with_context(failed)?;
                listener.set_nonblocking(true)?;
                thread::spawn(move || serve_tcp(&listener, &stopped))
            }
            Protocol::Udp => {
                let socket = namespace.within(|| UdpSocket::bind(address)).with_context(failed)?;
                socket.set_read_timeout(Some(POLL))?;
                thread::spawn(move || serve_udp(&socket, &stopped))
            }
        };
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the server shows as a failed exchange.
            let _ = thread.join();
        }
    }
}

fn serve_tcp(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                thread::spawn(move || echo(stream));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// Ends when the client does.
fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 1024];
    let _ = stream.set_nonblocking(false);
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool) {
    let mut bytes = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((count, from)) = socket.recv_from(&mut bytes) {
            // A client that is gone does not concern the others.
            let _ = socket.send_to(&bytes[..count], from);
        }
    }
}

/// Sends a few bytes from `namespace` to a server and waits for them to come back. Gives whether they
/// did within `patience`.
///
/// # Errors
///
/// Where no socket can be had at all.
pub fn exchange(
    namespace: &Namespace,
    protocol: Protocol,
    server: SocketAddr,
    patience: Duration,
) -> Result<bool> {
    const WORDS: &[u8] = b"portcullis";
    let answer = namespace.within(|| match protocol {
        Protocol::Tcp => (|| {
            let mut stream = TcpStream::connect_timeout(&server, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(WORDS)?;
            let mut answer = [0; WORDS.len()];
            stream.read_exact(&mut answer)?;
            Ok(answer == WORDS)
        })(),
        Protocol::Udp => (|| {
            let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(patience))?;
            socket.send(WORDS)?;
            let mut answer = [0; WORDS.len()];
            let count = socket.recv(&mut answer)?;
            Ok(&answer[..count] == WORDS)
        })(),
    });
    match answer {
        Ok(same) => Ok(same),
        Err(error) if is_silence(&error) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot talk to {protocol:?} {server}")),
    }
}

/// Errors that mean: nothing came back.
fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused
    )
}
