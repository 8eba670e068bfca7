//! The gateway's engine, from the configuration file's words to the engine's own.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    sync::Arc,
};

use anyhow::Context;
use base::Clock;
use gateway::{
    KeyPairPem, TlsAcceptance, TlsVersions,
    engine::{EngineConfig, Limits, ListenerSpec},
    snapshot::Certificate,
    upstream::Live,
};

use crate::{
    config::{self, AccessLog, Config},
    configuration::Configuration,
};

/// What lives as long as the process and outlasts every snapshot: connections' state, and the place where snapshots
/// are published.
pub(crate) fn live(config: &Config) -> anyhow::Result<Arc<Live>> {
    let roots = match &config.outbound.ca {
        Some(file) => fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => String::new(),
    };
    Ok(Arc::new(Live::new(&roots, own_listeners(config))?))
}

/// Addresses that no route may lead to: whoever may write routes would otherwise reach them as the gateway itself.
pub(crate) fn own_listeners(config: &Config) -> Vec<SocketAddr> {
    let apis = config.apisix.iter().chain(&config.kong);
    let admin = apis.flat_map(|api| [Some(api.listen), api.tls.as_ref().map(|tls| tls.listen)]);
    admin.flatten().chain(config.metrics).chain(config.control).collect()
}

/// Where clients reach the gateway over TLS: as configured, or the first listener that asks for no client certificate.
pub(crate) fn https_port(config: &Config) -> Option<u16> {
    let open = config.listeners.iter().find(|listener| listener.tls && !listener.client_certificates);
    let any = || config.listeners.iter().find(|listener| listener.tls);
    config.https_port.or_else(|| open.or_else(any).map(|listener| listener.address.port()))
}

/// The engine's configuration.
pub(crate) fn engine(
    config: &Config,
    clock: &Clock,
    configuration: &Configuration,
) -> anyhow::Result<EngineConfig> {
    let limits = Limits {
        head_bytes: config.limits.head_bytes,
        headers: config.limits.headers,
        body_bytes: config.limits.body_bytes.unwrap_or(u64::MAX),
        header: config.limits.head_timeout,
        body: config.limits.body_timeout,
        handshake: config.limits.handshake_timeout,
        streams: config.limits.streams,
    };
    Ok(EngineConfig {
        traffic: configuration.traffic.clone(),
        limits,
        trusted_proxies: config.trusted_proxies.clone(),
        access_log: access_log(&config.log.access)?,
        tls: tls(&config.tls)?,
        clock: clock.clone(),
        live: Arc::clone(&configuration.live),
        publisher: Arc::clone(&configuration.publisher),
    })
}

/// The engine's listeners.
pub(crate) fn listeners(config: &Config) -> Vec<ListenerSpec> {
    let spec = |listener: &config::Listener| ListenerSpec {
        address: listener.address,
        tls: listener.tls,
        http2: listener.http2,
        client_certificates: listener.client_certificates,
        proxy_protocol: listener.proxy_protocol,
    };
    config.listeners.iter().map(spec).collect()
}

fn tls(shared: &config::ListenerTls) -> anyhow::Result<TlsAcceptance> {
    let read = |file: &std::path::Path| {
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let fallback = match &shared.fallback {
        // Shown for any name, so it needs none of its own.
        Some(config::Certificate { chain, key }) => {
            let pair = KeyPairPem { chain: &read(chain)?, key: &read(key)? };
            Some(Certificate::compile(&[], &[pair], TlsVersions::default(), None)?)
        }
        None => None,
    };
    let client_ca = shared.client_ca.as_deref().map(read).transpose()?;
    Ok(TlsAcceptance::new(fallback, client_ca.as_deref())?)
}

fn access_log(access: &AccessLog) -> anyhow::Result<Option<Box<dyn Write + Send>>> {
    Ok(match access {
        AccessLog::Off => None,
        AccessLog::Stdout => Some(Box::new(io::stdout())),
        AccessLog::File(path) => {
            let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path);
            Some(Box::new(file.with_context(|| format!("cannot write the access log {}", path.display()))?))
        }
    })
}
