//! nginx and HAProxy, started by the test on ports of its own: each with one port that leads to each of several targets.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use loopback::Reserved;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A proxy that passes on what it is sent, killed when it is dropped.
pub(crate) struct Proxy {
    folder: TempDir,
    /// What it listens on, in the order of its targets.
    reserved: Vec<Reserved>,
}

impl Proxy {
    /// Debian's nginx, with kept connections to its targets and everything else as it comes.
    pub(crate) fn nginx(targets: &[u16]) -> Self {
        let (folder, reserved) = prepare(targets);
        let servers: String = targets
            .iter()
            .zip(&reserved)
            .map(|(target, reserved)| {
                let port = reserved.port();
                format!(
                    "upstream to{target} {{ server 127.0.0.1:{target}; keepalive 4; }}
                     server {{
                       listen 127.0.0.1:{port};
                       location / {{
                         proxy_pass http://to{target};
                         proxy_http_version 1.1;
                         proxy_set_header Connection \"\";
                         proxy_set_header Host $http_host;
                         proxy_request_buffering off;
                       }}
                     }}\n"
                )
            })
            .collect();
        let config = format!(
            "worker_processes 1; pid nginx.pid; error_log stderr crit;
             events {{ worker_connections 512; }}
             http {{
               access_log off; client_header_timeout 1s; client_body_timeout 1s; send_timeout 5s;
               client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
               scgi_temp_path scgi;
               {servers}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).unwrap();
        // As root it would become another user, who has no business in this folder.
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(file).args(["-e", "stderr", "-g", user]);
        start(&mut command, folder.path());
        Self { folder, reserved }
    }

    /// Debian's HAProxy, sharing its connections to targets among clients.
    pub(crate) fn haproxy(targets: &[u16]) -> Self {
        let (folder, reserved) = prepare(targets);
        let services: String = targets
            .iter()
            .zip(&reserved)
            .map(|(target, reserved)| {
                let port = reserved.port();
                format!(
                    "listen to{target}\n  bind 127.0.0.1:{port}\n  http-reuse always\n  server s 127.0.0.1:{target}\n"
                )
            })
            .collect();
        let config = format!(
            "global\n  maxconn 256\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout server 10s\n  \
             timeout client 1s\n  timeout http-request 1s\n  timeout http-keep-alive 1s\n{services}"
        );
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-D", "-q", "-f"]).arg(file).arg("-p").arg(folder.path().join("haproxy.pid"));
        start(&mut command, folder.path());
        Self { folder, reserved }
    }
}

impl Proxy {
    /// What it listens on for the target in this place.
    pub(crate) fn port(&self, target: usize) -> u16 {
        self.reserved[target].port()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for name in ["nginx.pid", "haproxy.pid"] {
            for pid in pids(&self.folder.path().join(name)) {
                // nginx's first process tells the other one; a killed one could not.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }
}

fn prepare(targets: &[u16]) -> (TempDir, Vec<Reserved>) {
    let reserved = targets.iter().map(|_| Reserved::any().unwrap()).collect();
    (tempfile::tempdir().unwrap(), reserved)
}

/// Both programs go into the background when they listen, and keep what they were given to write to.
fn start(command: &mut Command, folder: &Path) {
    let told = folder.join("told");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&told).unwrap());
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{error}: cannot run {command:?}: `cargo xtask install` installs it"));
    assert!(status.success(), "{command:?}: {status}: {}", fs::read_to_string(told).unwrap_or_default());
}

fn pids(file: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
