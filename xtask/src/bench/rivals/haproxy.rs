//! HAProxy: each token is verified, for it keeps no verdicts.

use std::{fs, path::Path, process::Command};

use super::{API_KEY, BOTH, Configuration, Row, Scenario};
use crate::bench::{
    portcullis::Credentials,
    ports::{self, HAPROXY_ES256, HAPROXY_KEYED, HAPROXY_PLAIN, HAPROXY_RS256, TARGET},
    process::Process,
};

/// HAProxy with a frontend for each scenario.
pub(super) fn start(
    folder: &Path,
    credentials: &Credentials,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<Process> {
    let issuer = &credentials.issuer;
    let mut frontends = String::new();
    for (alg, port, pem) in
        [("RS256", HAPROXY_RS256, &credentials.rs256_pem), ("ES256", HAPROXY_ES256, &credentials.es256_pem)]
    {
        let key = folder.join(format!("{alg}.pem"));
        fs::write(&key, pem)?;
        frontends += &frontend(alg, port, folder, &bearer(alg, &key, issuer));
    }
    let keys = folder.join("keys.map");
    fs::write(&keys, format!("{API_KEY} jack\n"))?;
    let keyed = format!(
        "    http-request set-var(txn.consumer) req.hdr(apikey),map_str({})
    http-request deny deny_status 401 unless {{ var(txn.consumer) -m found }}
    http-request set-header X-Consumer-Username %[var(txn.consumer)]
",
        keys.display()
    );
    frontends += &frontend("keyed", HAPROXY_KEYED, folder, &keyed);
    frontends += &frontend("plain", HAPROXY_PLAIN, folder, "");
    let text = format!(
        "global
    nbthread 2
    maxconn 12000
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    http-reuse always
    option forwardfor
{frontends}backend target
    server target 127.0.0.1:{TARGET} maxconn 12000 pool-max-conn -1
"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, &text)?;
    configurations.push(("haproxy".to_owned(), text));
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(file);
    Process::start("HAProxy", command, HAPROXY_PLAIN)
}

fn frontend(name: &str, port: u16, folder: &Path, rules: &str) -> String {
    let (tls, pem) = (port + ports::TLS, folder.join(BOTH));
    format!(
        "frontend {name}
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{tls} ssl crt {} alpn h2,http/1.1
{rules}    default_backend target
",
        pem.display()
    )
}

fn bearer(alg: &str, key: &Path, issuer: &str) -> String {
    let key = key.display();
    format!(
        r#"    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.now) date()
    http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str {alg} }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.iss') -m str "{issuer}" }}
    http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify("{alg}","{key}") -m int 1 }}
"#
    )
}

/// What it is measured in.
pub(super) fn subjects() -> Vec<Row> {
    vec![
        ("HAProxy", Scenario::Plain, HAPROXY_PLAIN, Some(HAPROXY_PLAIN + ports::TLS)),
        ("HAProxy, map of keys", Scenario::KeyAuth, HAPROXY_KEYED, None),
        ("HAProxy, verified each time", Scenario::Rs256Warm, HAPROXY_RS256, Some(HAPROXY_RS256 + ports::TLS)),
        ("HAProxy", Scenario::Rs256Cold, HAPROXY_RS256, None),
        ("HAProxy, verified each time", Scenario::Es256Warm, HAPROXY_ES256, None),
        ("HAProxy", Scenario::Es256Cold, HAPROXY_ES256, None),
    ]
}
