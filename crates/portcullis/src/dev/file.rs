//! `DIR/portcullis.yaml`: what `dev` serves, as the file that `run` reads.

use super::ports::Ports;

/// The file's text. The admin key comes from the environment, as `dev.env` sets it; everything else that is secret is
/// in files of its own.
pub(crate) fn text(ports: Ports) -> String {
    let (http, https, mutual) = (ports.http(), ports.https(), ports.https_mutual());
    let (admin, admin_tls, kong, metrics) = (ports.admin(), ports.admin_tls(), ports.kong(), ports.metrics());
    let (identity, identity_tls, identity_mutual) =
        (ports.identity(), ports.identity_tls(), ports.identity_mutual());
    format!(
        r#"# Written by `portcullis dev` at each start; copy it before changing it. To serve the same without the echo
# upstream: `. ./dev.env && portcullis run --config portcullis.yaml` in this folder.

workers: auto

listeners:
  - address: 127.0.0.1:{http}
  - address: 127.0.0.1:{https}
    tls: {{certificate: localhost.pem, key: localhost.key}}
  - address: 127.0.0.1:{mutual}
    tls: {{certificate: localhost.pem, key: localhost.key, client_ca: ca.pem}}

admin:
  apisix:
    listen: 127.0.0.1:{admin}
    tls: {{listen: "127.0.0.1:{admin_tls}", certificate: localhost.pem, key: localhost.key}}
    keys:
      - {{key: "${{ADMIN_KEY}}", role: admin}}
    hosts: [kong]
  kong:
    listen: 127.0.0.1:{kong}
    hosts: [kong]

store: {{sqlite: gateway.db}}

encryption:
  keyring: {{file: keys}}

outbound:
  ca: ca.pem
  allow: [127.0.0.0/8, "::1/128"]

identity:
  listen: 127.0.0.1:{identity}
  tls: {{listen: "127.0.0.1:{identity_tls}", certificate: localhost.pem, key: localhost.key}}
  mtls: {{listen: "127.0.0.1:{identity_mutual}", certificate: localhost.pem, key: localhost.key}}
  client_ca: ca.pem
  database: {{sqlite: identity.db}}
  tenants:
    - name: dev
      domains: ["http://localhost:{identity}", "https://localhost:{identity_tls}"]

metrics: {{listen: "127.0.0.1:{metrics}"}}

log: {{level: warn}}
"#
    )
}
