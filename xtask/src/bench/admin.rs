//! The Admin API in APISIX's dialect, over kept connections: what writes a hundred thousand resources.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Mutex,
    thread,
};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use super::portcullis::Gate;

/// Connections that write side by side.
const WRITERS: usize = 8;

/// Where it is, and what opens it.
#[derive(Debug)]
pub(crate) struct Admin {
    key: String,
    port: u16,
}

impl Admin {
    /// That of `gate`.
    pub(crate) fn of(gate: &Gate) -> anyhow::Result<Self> {
        Ok(Self { key: gate.variable("ADMIN_KEY")?.to_owned(), port: gate.port(9180) })
    }

    /// Writes one resource: `routes/1`.
    pub(crate) fn put(&self, name: &str, value: &Value) -> anyhow::Result<()> {
        self.connect()?.put(name, value)
    }

    /// Writes them all.
    pub(crate) fn put_all(&self, resources: Vec<(String, Value)>) -> anyhow::Result<()> {
        let left = Mutex::new(resources.into_iter());
        thread::scope(|scope| {
            let work = || {
                let mut connection = self.connect()?;
                loop {
                    let next = left.lock().map_err(|_| anyhow!("another writer failed"))?.next();
                    let Some((name, value)) = next else { return anyhow::Ok(()) };
                    connection.put(&name, &value)?;
                }
            };
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(work)).collect();
            writers
                .into_iter()
                .try_for_each(|writer| writer.join().map_err(|_| anyhow!("a writer failed"))?)
        })
    }

    fn connect(&self) -> anyhow::Result<Connection<'_>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).context("the Admin API does not listen")?;
        stream.set_nodelay(true)?;
        Ok(Connection { admin: self, stream: BufReader::new(stream) })
    }
}

struct Connection<'a> {
    admin: &'a Admin,
    stream: BufReader<TcpStream>,
}

impl Connection<'_> {
    fn put(&mut self, name: &str, value: &Value) -> anyhow::Result<()> {
        let body = value.to_string();
        let request = format!(
            "PUT /apisix/admin/{name} HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {}\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.admin.key,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut answer = vec![0; length.context("an answer without length")?];
        self.stream.read_exact(&mut answer)?;
        if !status.starts_with("HTTP/1.1 20") {
            bail!("{name}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
