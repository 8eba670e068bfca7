//! Reads the sections of the file, one function each.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, thread, time::Duration};

use base::{Keyring, Secret};
use fetch::{Proxies, ProxyServer};

use super::{
    AccessLog, AdminApi, AdminKey, Certificate, Config, Database, Identity, Limits, Listener, ListenerTls,
    Log, ManagementClient, Outbound, Role, Tenant, TlsServer, check, resources,
    section::{At, ByteCount, Findings, Section},
    tree::{self, Node},
};

/// Bytes of a head that cookies and tokens need.
const LEAST_HEAD_BYTES: u64 = 8 << 10;
/// Header lines that a browser's request has.
const LEAST_HEADERS: usize = 16;
/// Header lines of a request that a map of headers has room for, beside those that are added.
const MOST_HEADERS: usize = 10_000;

/// The whole file; `None` when something that has no default is missing or wrong.
pub(super) fn config(root: &Node, findings: &mut Findings) -> Option<Config> {
    let known = [
        "workers",
        "listeners",
        "trusted_proxies",
        "admin",
        "store",
        "resources",
        "declarative_config",
        "encryption",
        "outbound",
        "identity",
        "metrics",
        "log",
        "limits",
        "drain",
        "plugin_attr",
        "control",
    ];
    let top = Section::open(root, "", &known, findings)?;
    let mut ports = check::Ports::default();
    let workers = read_workers(&top, findings);
    let (listeners, tls) = read_listeners(&top, &mut ports, findings);
    let trusted_proxies = top.list("trusted_proxies", findings).into_iter().map(|net| net.value).collect();
    let (apisix, kong) = read_admin(&top, &mut ports, findings);
    let store = read_store(&top, findings);
    let resources = resources::read(&top, findings);
    let declarative_config = top.optional::<PathBuf>("declarative_config", findings).map(|file| file.value);
    let keyring = read_keyring(&top, findings);
    let outbound = read_outbound(&top, findings);
    let identity = read_identity(&top, &mut ports, findings);
    if let (Some(store), Some(identity)) = (&store, &identity)
        && let Database::Sqlite(path) = &identity.database
    {
        check::two_files(&store.value, path, identity.database_mark, findings);
    }
    let metrics = read_metrics(&top, &mut ports, findings);
    let log = read_log(&top, findings);
    let limits = read_limits(&top, findings);
    let drain = read_drain(&top, findings);
    let https_port = read_https_port(&top, findings);
    let control = read_control(&top, &mut ports, findings);
    let store = store?;
    Some(Config {
        file: PathBuf::new(),
        workers,
        listeners,
        tls,
        https_port,
        trusted_proxies,
        apisix,
        kong,
        store: store.value,
        store_mark: store.mark,
        resources,
        declarative_config,
        keyring: keyring?,
        outbound,
        identity,
        metrics,
        log,
        limits,
        drain,
        control,
        variables: BTreeSet::new(),
    })
}

fn read_workers(top: &Section<'_>, findings: &mut Findings) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    match top.optional::<String>("workers", findings) {
        None => cores,
        Some(At { value, .. }) if value == "auto" => cores,
        Some(At { mark, value }) => match value.parse() {
            Ok(workers @ 1..=1024) => workers,
            _ => {
                findings.add(mark, "`workers` must be `auto` or a number from 1 to 1024");
                cores
            }
        },
    }
}

fn read_listeners(
    top: &Section<'_>,
    ports: &mut check::Ports,
    findings: &mut Findings,
) -> (Vec<Listener>, ListenerTls) {
    let items = top.items("listeners", findings);
    if items.is_empty() {
        findings.add(top.mark(), "`listeners` is missing; it lists the gateway's addresses");
    }
    let (mut listeners, mut shared) = (Vec::new(), ListenerTls::default());
    for (index, item) in items.iter().enumerate() {
        let path = format!("listeners[{index}]");
        let known = ["address", "protocols", "tls", "proxy_protocol"];
        let Some(section) = Section::open(item, &path, &known, findings) else { continue };
        let http2 = read_protocols(&section, findings);
        let proxy_protocol = section.value("proxy_protocol", false, findings);
        let tls = section.section("tls", &["certificate", "key", "client_ca"], findings);
        if let Some(tls) = &tls {
            read_listener_tls(tls, &mut shared, findings);
        }
        let client_certificates = tls.as_ref().is_some_and(|tls| tls.node("client_ca").is_some());
        if let Some(address) = section.required("address", findings) {
            ports.take(&address, &section.path_of("address"), findings);
            let (address, tls) = (address.value, tls.is_some());
            listeners.push(Listener { address, http2, tls, client_certificates, proxy_protocol });
        }
    }
    (listeners, shared)
}

/// Whether HTTP/2 is among the protocols; both are where nothing is said.
fn read_protocols(section: &Section<'_>, findings: &mut Findings) -> bool {
    let (path, protocols) = (section.path_of("protocols"), section.list::<String>("protocols", findings));
    for protocol in protocols.iter().filter(|protocol| !matches!(protocol.value.as_str(), "h1" | "h2")) {
        findings.add(protocol.mark, format!("`{path}` knows h1 and h2"));
    }
    let has = |name| protocols.iter().any(|protocol| protocol.value == name);
    if let (Some(first), false) = (protocols.first(), has("h1")) {
        findings.add(first.mark, format!("`{path}`: h1 must be among them"));
    }
    protocols.is_empty() || has("h2")
}

/// The fallback certificate and the issuers of client certificates are the same for all listeners: SNI and routes
/// tell connections apart, not ports.
fn read_listener_tls(section: &Section<'_>, shared: &mut ListenerTls, findings: &mut Findings) {
    if section.node("certificate").or(section.node("key")).is_some()
        && let Some(certificate) = read_certificate(section, findings)
        && *shared.fallback.get_or_insert_with(|| certificate.clone()) != certificate
    {
        findings.add(
            section.mark(),
            "all listeners share one `certificate`; others are chosen by name, see `ssls`",
        );
    }
    if let Some(issuers) = section.optional::<PathBuf>("client_ca", findings) {
        check::certificates(&issuers, &section.path_of("client_ca"), findings);
        if *shared.client_ca.get_or_insert_with(|| issuers.value.clone()) != issuers.value {
            findings.add(issuers.mark, "all listeners share one `client_ca`; put all issuers into one file");
        }
    }
}

/// `certificate` and `key` of a section, both files looked at.
fn read_certificate(section: &Section<'_>, findings: &mut Findings) -> Option<Certificate> {
    let chain = section.required::<PathBuf>("certificate", findings);
    let key = section.required::<PathBuf>("key", findings);
    let (chain, key) = (chain?, key?);
    check::certificate(&chain, &key, findings);
    Some(Certificate { chain: chain.value, key: key.value })
}

/// `listen`, `certificate` and `key` of a TLS server of our own.
fn read_tls_server(
    parent: &Section<'_>,
    key: &str,
    ports: &mut check::Ports,
    findings: &mut Findings,
) -> Option<TlsServer> {
    let section = parent.section(key, &["listen", "certificate", "key"], findings)?;
    let listen = section.required("listen", findings);
    let certificate = read_certificate(&section, findings);
    let listen = listen?;
    ports.take(&listen, &section.path_of("listen"), findings);
    Some(TlsServer { listen: listen.value, certificate: certificate? })
}

fn read_admin(
    top: &Section<'_>,
    ports: &mut check::Ports,
    findings: &mut Findings,
) -> (Option<AdminApi>, Option<AdminApi>) {
    let Some(admin) = top.section("admin", &["apisix", "kong"], findings) else { return (None, None) };
    let apisix = read_admin_api(&admin, "apisix", ports, findings);
    (apisix, read_admin_api(&admin, "kong", ports, findings))
}

fn read_admin_api(
    admin: &Section<'_>,
    dialect: &str,
    ports: &mut check::Ports,
    findings: &mut Findings,
) -> Option<AdminApi> {
    let known: &[&str] = match dialect {
        "kong" => &["listen", "tls", "keys", "hosts", "headers"],
        _ => &["listen", "tls", "keys", "hosts"],
    };
    let section = admin.section(dialect, known, findings)?;
    let listen = section.required::<SocketAddr>("listen", findings);
    let tls = read_tls_server(&section, "tls", ports, findings);
    let keys = read_admin_keys(&section, findings);
    let hosts = section.list::<String>("hosts", findings).into_iter().map(|host| host.value).collect();
    let listen = listen?;
    ports.take(&listen, &section.path_of("listen"), findings);
    // Kong's own has no key, and its users' commands send none.
    let addresses = [Some(listen.value), tls.as_ref().map(|tls| tls.listen)];
    let open = dialect == "kong" && addresses.iter().flatten().all(|address| address.ip().is_loopback());
    if keys.is_empty() && !open {
        let path = section.path_of("keys");
        findings.add(section.mark(), format!("`{path}` is missing; there is no built-in key"));
    }
    let headers = read_answer_headers(&section, findings);
    Some(AdminApi { listen: listen.value, tls, keys, hosts, headers })
}

fn read_answer_headers(section: &Section<'_>, findings: &mut Findings) -> kong::AnswerHeaders {
    if section.node("headers").is_none() {
        return kong::AnswerHeaders::default();
    }
    let names = section.list::<String>("headers", findings);
    kong::AnswerHeaders::read(names.iter().map(|name| name.value.as_str())).unwrap_or_else(|why| {
        let mark = names.first().map_or(section.mark(), |name| name.mark);
        findings.add(mark, format!("`{}`: {why}", section.path_of("headers")));
        kong::AnswerHeaders::default()
    })
}

fn read_admin_keys(section: &Section<'_>, findings: &mut Findings) -> Vec<AdminKey> {
    let items = section.items("keys", findings);
    let mut keys: Vec<AdminKey> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{}[{index}]", section.path_of("keys"));
        let Some(section) = Section::open(item, &path, &["key", "role"], findings) else { continue };
        let role = match section.optional::<String>("role", findings) {
            Some(At { value, .. }) if value == "viewer" => Role::Viewer,
            Some(At { mark, value }) if value != "admin" => {
                findings.add(mark, format!("`{path}.role` is admin or viewer"));
                Role::Viewer
            }
            _ => Role::Admin,
        };
        if let Some(key) = section.required::<Secret<String>>("key", findings) {
            if let Err(reason) = check::admin_key(key.value.expose()) {
                findings.add(key.mark, format!("`{path}.key` {reason}"));
            }
            // Whoever holds it would be what neither of the two lines says alone.
            if keys.iter().any(|known| known.role != role && known.key == key.value) {
                let reason = "is listed before with another role; give each role a key of its own";
                findings.add(key.mark, format!("`{path}.key` {reason}"));
            }
            keys.push(AdminKey { key: key.value, role });
        }
    }
    keys
}

fn read_store(top: &Section<'_>, findings: &mut Findings) -> Option<At<PathBuf>> {
    let Some(section) = top.section("store", &["sqlite", "etcd"], findings) else {
        if top.node("store").is_none() {
            findings.add(top.mark(), "`store` is missing; give `store.sqlite`, the path of a file");
        }
        return None;
    };
    section.refuse("etcd", "use `store.sqlite`", findings);
    let path = section.required::<PathBuf>("sqlite", findings)?;
    check::database(&path, &section.path_of("sqlite"), findings);
    Some(path)
}

fn read_keyring(top: &Section<'_>, findings: &mut Findings) -> Option<Keyring> {
    let Some(section) = top.section("encryption", &["keyring"], findings) else {
        if top.node("encryption").is_none() {
            findings.add(
                top.mark(),
                "`encryption.keyring` is missing; stored secrets are sealed with its first key",
            );
        }
        return None;
    };
    let keyring = section.section("keyring", &["file", "keys"], findings)?;
    match (keyring.node("file").is_some(), keyring.node("keys").is_some()) {
        (true, false) => {
            let file = keyring.required::<PathBuf>("file", findings)?;
            check::keyring_file(&file, findings)
        }
        (false, true) => {
            let keys = keyring.required::<Secret<String>>("keys", findings)?;
            let parsed = Keyring::parse(keys.value.expose());
            parsed
                .map_err(|error| findings.add(keys.mark, format!("`encryption.keyring.keys`: {error}")))
                .ok()
        }
        _ => {
            findings.add(keyring.mark(), "`encryption.keyring` needs either `file` or `keys`");
            None
        }
    }
}

fn read_outbound(top: &Section<'_>, findings: &mut Findings) -> Outbound {
    let Some(section) = top.section("outbound", &["ca", "allow", "proxy"], findings) else {
        return Outbound::default();
    };
    let proxies = read_proxy(&section, findings);
    let ca = section.optional::<PathBuf>("ca", findings).map(|ca| {
        check::certificates(&ca, &section.path_of("ca"), findings);
        ca.value
    });
    let allow = section.list("allow", findings).into_iter().map(|net| net.value).collect();
    Outbound { ca, allow, proxies }
}

/// A URL, or a section with one and with the hosts that are reached directly. This machine itself always is.
fn read_proxy(outbound: &Section<'_>, findings: &mut Findings) -> Option<Proxies> {
    let node = outbound.node("proxy")?;
    let (url, except) = if let tree::Kind::Text { .. } = node.kind {
        (outbound.optional::<Secret<String>>("proxy", findings), Vec::new())
    } else {
        let section = outbound.section("proxy", &["url", "except"], findings)?;
        (section.required("url", findings), section.list::<String>("except", findings))
    };
    let url = url?;
    let server = ProxyServer::parse(url.value.expose(), None);
    let server = server.map_err(|error| findings.add(url.mark, format!("`outbound.proxy`: {error}"))).ok()?;
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let named = except.iter().flat_map(|host| Proxies::exceptions(&host.value));
    Some(Proxies::all(&server, own.into_iter().chain(named).collect()))
}

fn read_identity(top: &Section<'_>, ports: &mut check::Ports, findings: &mut Findings) -> Option<Identity> {
    let members = ["listen", "tls", "mtls", "client_ca", "forwarded_certificates", "database", "tenants"];
    let section = top.section("identity", &members, findings)?;
    let listen = section.required("listen", findings);
    if let Some(listen) = &listen {
        ports.take(listen, &section.path_of("listen"), findings);
    }
    let tls = read_tls_server(&section, "tls", ports, findings);
    let mtls = read_tls_server(&section, "mtls", ports, findings);
    let client_ca = section.optional::<PathBuf>("client_ca", findings);
    if let Some(authorities) = &client_ca {
        check::certificates(authorities, &section.path_of("client_ca"), findings);
    }
    let forwarded = section.optional::<bool>("forwarded_certificates", findings);
    let database = read_database(&section, findings);
    let (database_mark, database) = database.map(|At { mark, value }| (mark, value)).unzip();
    let tenants = read_tenants(&section, findings);
    Some(Identity {
        listen: listen?.value,
        tls,
        mtls,
        client_ca: client_ca.map(|authorities| authorities.value),
        forwarded_certificates: forwarded.is_some_and(|forwarded| forwarded.value),
        database: database?,
        database_mark: database_mark?,
        tenants,
    })
}

fn read_database(section: &Section<'_>, findings: &mut Findings) -> Option<At<Database>> {
    let database = section.section("database", &["sqlite", "postgres"], findings);
    let Some(database) = database else {
        if section.node("database").is_none() {
            findings.add(section.mark(), "`identity.database` is missing; give `sqlite` or `postgres`");
        }
        return None;
    };
    match (database.node("sqlite").is_some(), database.node("postgres").is_some()) {
        (true, false) => {
            let path = database.required::<PathBuf>("sqlite", findings)?;
            check::database(&path, &database.path_of("sqlite"), findings);
            Some(At { mark: path.mark, value: Database::Sqlite(path.value) })
        }
        (false, true) => {
            let url = database.required::<Secret<String>>("postgres", findings)?;
            let scheme = |prefix| url.value.expose().starts_with(prefix);
            if !scheme("postgres://") && !scheme("postgresql://") {
                findings
                    .add(url.mark, "`identity.database.postgres` must be a URL that begins with postgres://");
            }
            Some(At { mark: url.mark, value: Database::Postgres(url.value) })
        }
        _ => {
            findings.add(database.mark(), "`identity.database` needs either `sqlite` or `postgres`");
            None
        }
    }
}

fn read_tenants(section: &Section<'_>, findings: &mut Findings) -> Vec<Tenant> {
    let items = section.items("tenants", findings);
    if items.is_empty() {
        findings.add(section.mark(), "`identity.tenants` is missing; one tenant at least is served");
    }
    let mut tenants: Vec<Tenant> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("identity.tenants[{index}]");
        let Some(section) = Section::open(item, &path, &["name", "domains", "management"], findings) else {
            continue;
        };
        let name = section.required::<String>("name", findings);
        let domains = section.list::<String>("domains", findings);
        if domains.is_empty() {
            findings
                .add(section.mark(), format!("`{path}.domains` is missing; it lists the tenant's origins"));
        }
        for domain in &domains {
            let taken = tenants.iter().any(|tenant| tenant.domains.contains(&domain.value));
            check::origin(domain, &section.path_of("domains"), taken, findings);
        }
        let management = read_management(&section, findings);
        let Some(At { mark, value: name }) = name else { continue };
        if tenants.iter().any(|tenant| tenant.name == name) {
            findings.add(mark, format!("`{path}.name` is given to two tenants"));
        }
        tenants.push(Tenant {
            name,
            domains: domains.into_iter().map(|domain| domain.value).collect(),
            management,
        });
    }
    tenants
}

fn read_management(tenant: &Section<'_>, findings: &mut Findings) -> Option<ManagementClient> {
    let section = tenant.section("management", &["client_id", "client_secret"], findings)?;
    let client_id = section.required::<String>("client_id", findings);
    let client_secret = section.required::<Secret<String>>("client_secret", findings);
    if let Some(secret) = &client_secret
        && let Err(reason) = check::admin_key(secret.value.expose())
    {
        findings.add(secret.mark, format!("`{}` {reason}", section.path_of("client_secret")));
    }
    Some(ManagementClient { client_id: client_id?.value, client_secret: client_secret?.value })
}

fn read_metrics(top: &Section<'_>, ports: &mut check::Ports, findings: &mut Findings) -> Option<SocketAddr> {
    let section = top.section("metrics", &["listen"], findings)?;
    let listen = section.required("listen", findings)?;
    ports.take(&listen, &section.path_of("listen"), findings);
    Some(listen.value)
}

/// There is no key, so that only this machine may reach it.
fn read_control(top: &Section<'_>, ports: &mut check::Ports, findings: &mut Findings) -> Option<SocketAddr> {
    let section = top.section("control", &["listen"], findings)?;
    let listen = section.required::<SocketAddr>("listen", findings)?;
    ports.take(&listen, &section.path_of("listen"), findings);
    if !listen.value.ip().is_loopback() {
        findings
            .add(listen.mark, "`control.listen` must be a loopback address: whoever reaches it needs no key");
    }
    Some(listen.value)
}

fn read_drain(top: &Section<'_>, findings: &mut Findings) -> Duration {
    let default = Duration::from_secs(30);
    let section = top.section("drain", &["timeout"], findings);
    section.map_or(default, |section| section.value("timeout", default, findings))
}

fn read_https_port(top: &Section<'_>, findings: &mut Findings) -> Option<u16> {
    let attr = top.section("plugin_attr", &["redirect"], findings)?;
    let port =
        attr.section("redirect", &["https_port"], findings)?.optional::<u32>("https_port", findings)?;
    match u16::try_from(port.value) {
        Ok(port @ 1..) => Some(port),
        _ => {
            findings.add(port.mark, "`plugin_attr.redirect.https_port` must be a port from 1 to 65535");
            None
        }
    }
}

fn read_log(top: &Section<'_>, findings: &mut Findings) -> Log {
    let mut log = Log { level: "info".to_owned(), json: false, access: AccessLog::Off };
    let Some(section) = top.section("log", &["level", "format", "access"], findings) else { return log };
    if let Some(At { mark, value }) = section.optional::<String>("level", findings) {
        if !matches!(value.as_str(), "error" | "warn" | "info" | "debug" | "trace") {
            findings.add(mark, "`log.level` is error, warn, info, debug or trace");
        }
        log.level = value;
    }
    if let Some(At { mark, value }) = section.optional::<String>("format", findings) {
        if !matches!(value.as_str(), "text" | "json") {
            findings.add(mark, "`log.format` is text or json");
        }
        log.json = value == "json";
    }
    if let Some(node) = section.node("access") {
        log.access = match &node.kind {
            tree::Kind::Text { text, .. } if text.expose() == "off" => AccessLog::Off,
            tree::Kind::Text { text, .. } if text.expose() == "stdout" => AccessLog::Stdout,
            _ => match section.optional::<PathBuf>("access", findings) {
                Some(path) => AccessLog::File(path.value),
                None => AccessLog::Off,
            },
        };
    }
    log
}

fn read_limits(top: &Section<'_>, findings: &mut Findings) -> Limits {
    let known = [
        "head_bytes",
        "headers",
        "body_bytes",
        "head_timeout",
        "body_timeout",
        "handshake_timeout",
        "streams",
    ];
    let default = Limits::default();
    let Some(section) = top.section("limits", &known, findings) else { return default };
    let head_bytes = section.optional::<ByteCount>("head_bytes", findings);
    if let Some(at) = head_bytes.as_ref().filter(|at| at.value.0 < LEAST_HEAD_BYTES) {
        findings.add(at.mark, "`limits.head_bytes` must be 8KiB or more: cookies and tokens need that much");
    }
    let headers = section.optional::<usize>("headers", findings);
    if let Some(at) = headers.as_ref().filter(|at| at.value < LEAST_HEADERS) {
        let reason = format!("`limits.headers` must be {LEAST_HEADERS} or more: browsers send no fewer");
        findings.add(at.mark, reason);
    }
    if let Some(at) = headers.as_ref().filter(|at| at.value > MOST_HEADERS) {
        let reason = format!("`limits.headers` must be {MOST_HEADERS} or less: there is room for no more");
        findings.add(at.mark, reason);
    }
    let streams = section.optional::<u32>("streams", findings);
    if let Some(at) = streams.as_ref().filter(|at| at.value == 0) {
        findings.add(at.mark, "`limits.streams` must be 1 or more: no request could be made over HTTP/2");
    }
    Limits {
        head_bytes: head_bytes
            .map_or(default.head_bytes, |at| usize::try_from(at.value.0).unwrap_or(usize::MAX)),
        headers: headers.map_or(default.headers, |at| at.value),
        body_bytes: section.optional::<ByteCount>("body_bytes", findings).map(|at| at.value.0),
        head_timeout: read_timeout(&section, "head_timeout", default.head_timeout, findings),
        body_timeout: read_timeout(&section, "body_timeout", default.body_timeout, findings),
        handshake_timeout: read_timeout(&section, "handshake_timeout", default.handshake_timeout, findings),
        streams: streams.map_or(default.streams, |at| at.value),
    }
}

/// A time within which somebody has to do something.
fn read_timeout(section: &Section<'_>, key: &str, default: Duration, findings: &mut Findings) -> Duration {
    let Some(At { mark, value }) = section.optional::<Duration>(key, findings) else { return default };
    if value.is_zero() {
        findings.add(
            mark,
            format!("`{}` must be longer than nothing: nobody could keep to it", section.path_of(key)),
        );
    }
    value
}
