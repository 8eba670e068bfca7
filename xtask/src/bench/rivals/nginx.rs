//! nginx: the target behind every proxy, and a proxy itself.

use std::{fs, path::Path, process::Command};

use super::{API_KEY, CERTIFICATE, Configuration, KEY, LARGE, Row, SMALL, Scenario, body};
use crate::bench::{
    ports::{self, NGINX_KEYED, NGINX_PLAIN, TARGET},
    process::Process,
};

fn run(
    name: &str,
    folder: &Path,
    workers: u32,
    http: &str,
    port: u16,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<Process> {
    let text = format!(
        "daemon off;
master_process on;
worker_processes {workers};
worker_rlimit_nofile 40000;
pid {name}.pid;
error_log stderr error;
events {{ worker_connections 12288; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
{http}}}
"
    );
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, &text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file);
    let process = Process::start(name, command, port)?;
    configurations.push((name.to_owned(), text));
    Ok(process)
}

/// An nginx that answers 150 bytes, and 64 KiB from a file to paths that end in `/large`.
pub(crate) fn target(folder: &Path, configurations: &mut Vec<Configuration>) -> anyhow::Result<Process> {
    let large = folder.join("large");
    fs::write(&large, body(LARGE))?;
    let (large, small) = (large.display(), body(SMALL));
    let http = format!(
        "    server {{
        listen 127.0.0.1:{TARGET} backlog=4096;
        sendfile on;
        tcp_nopush on;
        open_file_cache max=10;
        location / {{ return 200 \"{small}\"; }}
        location ~ /large$ {{ alias {large}; }}
    }}
"
    );
    run("target", folder, 1, &http, TARGET, configurations)
}

/// nginx as a proxy.
pub(super) fn start(folder: &Path, configurations: &mut Vec<Configuration>) -> anyhow::Result<Process> {
    let proxy = "            proxy_pass http://target;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
";
    let tls = NGINX_PLAIN + ports::TLS;
    let http = format!(
        "    upstream target {{ server 127.0.0.1:{TARGET}; keepalive 1024; keepalive_requests 1000000000; }}
    map $http_apikey $consumer {{ default \"\"; \"{API_KEY}\" jack; }}
    ssl_certificate {CERTIFICATE};
    ssl_certificate_key {KEY};
    ssl_protocols TLSv1.3;
    ssl_session_cache shared:sessions:10m;
    server {{
        listen 127.0.0.1:{NGINX_PLAIN} backlog=4096;
        listen 127.0.0.1:{tls} ssl http2 backlog=4096;
        location / {{
{proxy}        }}
    }}
    server {{
        listen 127.0.0.1:{NGINX_KEYED} backlog=4096;
        location / {{
            if ($consumer = \"\") {{ return 401; }}
            proxy_set_header X-Consumer-Username $consumer;
{proxy}        }}
    }}
"
    );
    run("nginx", folder, 2, &http, NGINX_PLAIN, configurations)
}

/// What it is measured in. It has no tokens.
pub(super) fn subjects() -> Vec<Row> {
    vec![
        ("nginx", Scenario::Plain, NGINX_PLAIN, Some(NGINX_PLAIN + ports::TLS)),
        ("nginx, map of keys", Scenario::KeyAuth, NGINX_KEYED, None),
    ]
}
