//! The thread that accepts readers.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::address::Network;
use super::hub::{Hub, STOP_CHECK};
use super::reader::{Reader, set_up};
use crate::error::{Error, Result};

/// The stack size of a reader's thread, which only copies bytes. A larger stack would waste address
/// space.
const READER_STACK_BYTES: usize = 256 << 10;

/// Binds an address.
///
/// # Errors
/// If the address can't be bound.
pub(super) fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|cause| {
        let what = match cause.kind() {
            ErrorKind::AddrInUse => format!(
                "can't listen at {address}: another program, or another Socket of the topology, \
                 listens there"
            ),
            _ => format!("can't listen at {address}"),
        };
        Error::fatal(what).because(cause)
    })
}

/// Starts the thread, which ends once the hub is closed.
///
/// # Errors
/// If the thread can't be created.
pub(super) fn start(
    listener: TcpListener,
    hub: Arc<Hub>,
    allowed: Vec<Network>,
) -> Result<JoinHandle<()>> {
    let listen = move || {
        while !hub.is_closed() {
            wait_for_reader(&listener);
            while let Ok((stream, peer)) = listener.accept() {
                admit(&hub, stream, peer.ip(), &allowed);
            }
        }
    };
    thread::Builder::new()
        .name("socket-listen".into())
        .spawn(listen)
        .map_err(|cause| Error::no_room("can't start the thread \"socket-listen\"").because(cause))
}

fn wait_for_reader(listener: &TcpListener) {
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(STOP_CHECK.subsec_nanos()) };
    // An interrupted wait counts as a short one.
    let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&timeout));
}

/// Returns true if a reader at this address may connect. This machine's own addresses always may.
fn is_allowed(peer: IpAddr, allowed: &[Network]) -> bool {
    peer.to_canonical().is_loopback() || allowed.iter().any(|network| network.has(peer))
}

fn admit(hub: &Arc<Hub>, stream: TcpStream, peer: IpAddr, allowed: &[Network]) {
    if !is_allowed(peer, allowed) {
        return hub.refuse();
    }
    set_up(&stream);
    let Some((id, wake)) = hub.admit() else { return hub.refuse() };
    let reader = Reader::new(Arc::clone(hub), id, wake, stream);
    let thread = thread::Builder::new()
        .name("socket-reader".into())
        .stack_size(READER_STACK_BYTES)
        .spawn(move || reader.serve());
    if thread.is_err() {
        hub.left(id, 0);
        hub.refuse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_this_machine_and_of_allowed_networks_may_connect() {
        let allowed = ["10.1.0.0/16".parse().unwrap()];
        for (peer, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("::ffff:10.1.2.3", true),
            ("fe80::1", false),
        ] {
            assert_eq!(is_allowed(peer.parse().unwrap(), &allowed), expected, "{peer}");
        }
    }
}
