use std::{fmt, time::Duration};

use aws_lc_rs::digest;
use base::Secret;

/// Where shared sessions are kept, and how that Redis is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// Host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Number of the database.
    pub database: i64,
    /// What all keys begin with.
    pub prefix: String,
    /// User of Redis's access control lists; without one, the default user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret<String>>,
    /// TLS; `None`: none.
    pub tls: Option<RedisTls>,
    /// How long a connection may take to be made, TLS and login included.
    pub connect_timeout: Duration,
    /// How long a command may take to be sent.
    pub send_timeout: Duration,
    /// How long its answer may take after that.
    pub read_timeout: Duration,
    /// A connection that was not used for so long is replaced by a new one.
    pub keepalive_timeout: Duration,
}

/// How the server proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisTls {
    /// Whether its certificate is verified.
    pub verify: bool,
    /// The name in its certificate, where it is not the host.
    pub server_name: Option<String>,
}

/// Digest of all that a connection depends on: routes with the same share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LinkKey([u8; 32]);

impl RedisSettings {
    pub(super) fn link_key(&self) -> LinkKey {
        let mut context = digest::Context::new(&digest::SHA256);
        // The prefix is a matter of the keys, not of the connection. The debug text leaves the password out.
        context.update(format!("{:?}", Self { prefix: String::new(), ..self.clone() }).as_bytes());
        context.update(self.password.as_ref().map_or("", |password| password.expose()).as_bytes());
        let mut out = [0; 32];
        out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        LinkKey(out)
    }
}

impl fmt::Display for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}
