//! Ports of loopback that a test keeps for itself.
//!
//! A port that was free a moment ago may be somebody else's by the time a server asks for it, and a server that is
//! down for a while loses its own. A socket that is bound, but does not listen, prevents both on Linux: nobody is given
//! the port, connections to it are refused, and whoever is told of it and allows reuse (`SO_REUSEADDR`, as servers do)
//! listens there as often as it likes.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

/// A port that nobody is given while this lives.
#[derive(Debug)]
pub struct Reserved {
    address: SocketAddr,
    _socket: Socket,
}

impl Reserved {
    /// Some port.
    ///
    /// # Errors
    ///
    /// None is left.
    pub fn any() -> io::Result<Self> {
        Self::at(0)
    }

    /// This port.
    ///
    /// # Errors
    ///
    /// Somebody has it, listening or reserved.
    pub fn at(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        // Only now: allowed earlier, two could reserve the same one.
        socket.set_reuse_address(true)?;
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { address, _socket: socket })
    }

    /// 127.0.0.1 and the port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port alone.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_is_refused_to_others_and_free_for_who_is_told_of_it() {
        let reserved = Reserved::any().unwrap();
        let refused = || TcpStream::connect(reserved.address()).unwrap_err().kind();
        assert_eq!(refused(), io::ErrorKind::ConnectionRefused);
        for _ in 0..2 {
            let listener = TcpListener::bind(reserved.address()).unwrap();
            assert!(TcpStream::connect(reserved.address()).is_ok());
            assert!(listener.accept().is_ok());
            assert_eq!(Reserved::at(reserved.port()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop(listener);
            assert_eq!(refused(), io::ErrorKind::ConnectionRefused);
        }
        assert_eq!(Reserved::at(reserved.port()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
