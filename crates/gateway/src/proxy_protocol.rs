//! The PROXY protocol, versions 1 and 2: a trusted proxy's word on who the client is.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a version 2 header begins with.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest version 1 line.
const V1_MAX: usize = 107;
/// Longest version 2 payload taken; addresses need 36 bytes, the rest are extensions.
const V2_MAX: usize = 2048;

/// Reads the header that must begin a connection. `None`: the proxy speaks for itself (LOCAL, UNKNOWN).
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if &start == V2_SIGNATURE { read_v2(stream).await } else { read_v1(stream, &start).await }
}

async fn read_v1(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> io::Result<Option<SocketAddr>> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= V1_MAX || !line.starts_with(b"PROXY ") {
            return Err(malformed());
        }
        // Byte by byte: what follows the line belongs to TLS or HTTP.
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line).ok_or_else(malformed)
}

/// `PROXY TCP4 source destination source-port destination-port`, or `PROXY UNKNOWN` and anything.
fn parse_v1(line: &[u8]) -> Option<Option<SocketAddr>> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = text.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (words.next()?, words.next()?);
    let source: IpAddr = source.parse().ok()?;
    let destination: IpAddr = destination.parse().ok()?;
    destination_port.parse::<u16>().ok()?;
    let consistent = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (consistent && words.next().is_none()).then_some(Some(SocketAddr::new(source, source_port.parse().ok()?)))
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = usize::from(stream.read_u16().await?);
    if length > V2_MAX {
        return Err(malformed());
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    match (command, family) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) => {
            let ([a, b, c, d, _, _, _, _, p, q, ..], true) = (payload.as_slice(), length >= 12) else {
                return Err(malformed());
            };
            let address = Ipv4Addr::new(*a, *b, *c, *d);
            Ok(Some(SocketAddr::new(address.into(), u16::from_be_bytes([*p, *q]))))
        }
        (0x21, 0x21) => {
            let address = payload.first_chunk::<16>().filter(|_| length >= 36).ok_or_else(malformed)?;
            let port = payload.get(32..34).and_then(|port| port.first_chunk::<2>()).ok_or_else(malformed)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(*address).into(), u16::from_be_bytes(*port))))
        }
        (0x21, 0x00) => Ok(None),
        _ => Err(malformed()),
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a PROXY header")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let mut rest = bytes;
        let result = read(&mut rest).await;
        (result, rest.to_vec())
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_what_follows() {
        let (source, rest) = read_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\nGET /").await;
        assert_eq!(source.unwrap(), Some("192.0.2.1:1234".parse().unwrap()));
        assert_eq!(rest, b"GET /");
        let mut v2 = V2_SIGNATURE.to_vec();
        v2.extend_from_slice(&[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 4, 210, 0, 80, b'G']);
        let (source, rest) = read_all(&v2).await;
        assert_eq!(source.unwrap(), Some("192.0.2.1:1234".parse().unwrap()));
        assert_eq!(rest, b"G");
    }

    #[tokio::test]
    async fn h08_what_is_no_proxy_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"PROXY TCP4 ::1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 99999 2\r\n",
            b"PROXY TCP4 192.0.2.1\r\n\r\n\r\n",
        ] {
            assert!(read_all(bytes).await.0.is_err());
        }
    }
}
