//! A connection to one Redis, owned by the control runtime, and the circuit that opens when it does not answer.

use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, Value, aio::MultiplexedConnection,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::{TcpStream, lookup_host},
    runtime::Handle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::settings::{LinkKey, RedisSettings};

/// How often a Redis that does not answer is tried again.
const PROBE: Duration = Duration::from_millis(500);

/// Redis does not answer, or not as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session storage is not available")]
pub struct StorageError;

/// The connections of the process, one to each Redis that routes name.
#[derive(Clone)]
pub struct RedisLinks(Arc<Links>);

struct Links {
    runtime: Handle,
    tls: TlsChoices,
    /// Addresses that are never connected to: the process's own administration.
    refused: Vec<SocketAddr>,
    links: Mutex<HashMap<LinkKey, Weak<Link>>>,
}

/// The two ways to speak TLS, without any protocol of the application.
#[derive(Clone)]
pub struct TlsChoices {
    /// Verifies certificates.
    pub verified: Arc<ClientConfig>,
    /// Takes any.
    pub unverified: Arc<ClientConfig>,
}

/// The connection to one Redis. Commands of many requests share it.
pub(super) struct Link {
    settings: RedisSettings,
    links: Arc<Links>,
    open: tokio::sync::Mutex<Option<Open>>,
    /// It did not answer the last time; until a probe gets an answer, nobody waits for it.
    is_broken: AtomicBool,
}

struct Open {
    connection: MultiplexedConnection,
    used: Instant,
}

impl RedisLinks {
    /// None yet. All work is done on `runtime`.
    pub fn new(runtime: Handle, tls: TlsChoices, refused: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Links { runtime, tls, refused, links: Mutex::default() }))
    }

    pub(super) fn link(&self, settings: &RedisSettings) -> Arc<Link> {
        let mut links = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.strong_count() > 0);
        let key = settings.link_key();
        if let Some(link) = links.get(&key).and_then(Weak::upgrade) {
            return link;
        }
        let link = Arc::new(Link {
            settings: settings.clone(),
            links: Arc::clone(&self.0),
            open: tokio::sync::Mutex::default(),
            is_broken: AtomicBool::new(false),
        });
        links.insert(key, Arc::downgrade(&link));
        link
    }
}

impl Link {
    /// Whether the circuit is open: what is asked now fails at once.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// The answer to one command.
    pub(super) async fn ask(self: &Arc<Self>, command: Cmd) -> Result<Value, StorageError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command);
        let mut answers = self.ask_all(pipeline).await?.into_iter();
        answers.next().ok_or(StorageError)
    }

    /// The answers to several commands, in their order. The work goes on when the asker is gone, so that no command is
    /// given up half-way.
    pub(super) async fn ask_all(self: &Arc<Self>, commands: Pipeline) -> Result<Vec<Value>, StorageError> {
        if self.is_broken() {
            return Err(StorageError);
        }
        let link = Arc::clone(self);
        let asking = self.links.runtime.spawn(async move { link.ask_here(&commands).await });
        asking.await.unwrap_or(Err(StorageError))
    }

    async fn ask_here(self: &Arc<Self>, commands: &Pipeline) -> Result<Vec<Value>, StorageError> {
        // A kept connection may have been closed by the other side just now: that says nothing about the server.
        for is_last in [false, true] {
            let connection = match self.connection().await {
                Ok(connection) => connection,
                Err(error) => return Err(self.give_up(&error)),
            };
            let limit = self.settings.send_timeout + self.settings.read_timeout;
            let mut asking = connection.clone();
            match timeout(limit, asking.send_packed_commands(commands, 0, commands.len())).await {
                Ok(Ok(answers)) => return self.check(answers),
                Ok(Err(error)) if error.is_io_error() || error.is_connection_dropped() => {
                    self.open.lock().await.take();
                    if is_last {
                        return Err(self.give_up(&error));
                    }
                }
                Ok(Err(error)) => {
                    tracing::error!(redis = %self.settings, code = error.code(), "Redis refuses a command");
                    return Err(StorageError);
                }
                Err(_) => {
                    self.open.lock().await.take();
                    return Err(self.give_up(&io::Error::from(io::ErrorKind::TimedOut)));
                }
            }
        }
        Err(StorageError)
    }

    fn check(&self, answers: Vec<Value>) -> Result<Vec<Value>, StorageError> {
        let refusal = answers.iter().find_map(|answer| match answer {
            Value::ServerError(error) => Some(error.code().to_owned()),
            _ => None,
        });
        match refusal {
            None => Ok(answers),
            Some(code) => {
                tracing::error!(redis = %self.settings, code, "Redis refuses a command");
                Err(StorageError)
            }
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, io::Error> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_mut().filter(|open| open.used.elapsed() < self.settings.keepalive_timeout)
        {
            open.used = Instant::now();
            return Ok(open.connection.clone());
        }
        let connecting = timeout(self.settings.connect_timeout, self.connect()).await;
        let connection = connecting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        *open = Some(Open { connection: connection.clone(), used: Instant::now() });
        Ok(connection)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, io::Error> {
        let Self { settings, links, .. } = self;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in lookup_host((settings.host.as_str(), settings.port)).await? {
            if links.refused.contains(&address) {
                last = io::Error::other("it is a listener of this process");
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return self.log_in(stream).await;
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn log_in(&self, stream: TcpStream) -> Result<MultiplexedConnection, io::Error> {
        let settings = &self.settings;
        let mut info = RedisConnectionInfo::default().set_db(settings.database).set_skip_set_lib_name();
        if let Some(username) = &settings.username {
            info = info.set_username(username);
        }
        if let Some(password) = &settings.password {
            info = info.set_password(password.expose());
        }
        // The link has its own limits, which hold over all its steps together.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        // What Redis says to a refused login is its own text; it holds no password.
        let told = |error: RedisError| io::Error::other(error.to_string());
        let Some(tls) = &settings.tls else {
            let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
            let (connection, driver) = made.map_err(told)?;
            self.links.runtime.spawn(driver);
            return Ok(connection);
        };
        let choice = if tls.verify { &self.links.tls.verified } else { &self.links.tls.unverified };
        let name = tls.server_name.as_deref().unwrap_or(&settings.host).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(choice)).connect(name, stream).await?;
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(told)?;
        self.links.runtime.spawn(driver);
        Ok(connection)
    }

    /// Opens the circuit, and tries in the background until there is an answer.
    fn give_up(self: &Arc<Self>, error: &dyn fmt::Display) -> StorageError {
        if !self.is_broken.swap(true, Ordering::Relaxed) {
            tracing::error!(redis = %self.settings, %error, "Redis does not answer");
            let link = Arc::downgrade(self);
            self.links.runtime.spawn(async move {
                loop {
                    sleep(PROBE).await;
                    // Nobody needs it any more.
                    let Some(link) = link.upgrade() else { return };
                    if link.answers().await {
                        tracing::info!(redis = %link.settings, "Redis answers again");
                        link.is_broken.store(false, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
        StorageError
    }

    async fn answers(&self) -> bool {
        self.open.lock().await.take();
        let Ok(mut connection) = self.connection().await else { return false };
        let limit = self.settings.send_timeout + self.settings.read_timeout;
        let ping = timeout(limit, connection.send_packed_command(&::redis::cmd("PING"))).await;
        let is_well = matches!(ping, Ok(Ok(_)));
        if !is_well {
            self.open.lock().await.take();
        }
        is_well
    }
}

impl fmt::Debug for RedisLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisLinks")
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.settings)
    }
}
