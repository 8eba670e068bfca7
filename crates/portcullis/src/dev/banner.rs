//! What `dev` prints when everything serves.

use std::path::Path;

use idp::seed::DevCredentials;

use super::ports::Ports;

/// The banner, up to and with the line that says ready. Its commands work when pasted.
pub(crate) fn text(ports: Ports, folder: &Path, demo: &DevCredentials) -> String {
    let folder = folder.display();
    let (http, https, mutual) = (ports.http(), ports.https(), ports.https_mutual());
    let (admin, admin_tls, kong, metrics) = (ports.admin(), ports.admin_tls(), ports.kong(), ports.metrics());
    let (identity, identity_tls, echo) = (ports.identity(), ports.identity_tls(), ports.echo());
    let (user, password) = (&demo.user, demo.password.expose());
    format!(
        r##"
  gateway            http://localhost:{http}  https://localhost:{https}  (client certificates: {mutual})
  Admin API          http://localhost:{admin}/apisix/admin  https://localhost:{admin_tls}/apisix/admin
  Kong Admin API     http://localhost:{kong}/
  identity provider  http://localhost:{identity}/  https://localhost:{identity_tls}/
  echo upstream      http://localhost:{echo}/anything
  metrics            http://localhost:{metrics}/metrics
  state              {folder}

  demo user          {user}  {password}

# Everything from here on can be pasted into a shell. Keys and client secrets:

. {folder}/dev.env

# Puts an API behind a login page; then open http://localhost:{http}/anything/test in a browser.

curl -sS "http://localhost:{admin}/apisix/admin/routes/login" -X PUT -H "X-API-KEY: $ADMIN_KEY" -d '{{
  "uri": "/anything/*",
  "plugins": {{"openid-connect": {{
    "client_id": "'"$AUTH0_CLIENT_ID"'",
    "client_secret": "'"$AUTH0_CLIENT_SECRET"'",
    "discovery": "'"$ISSUER"'.well-known/openid-configuration",
    "scope": "openid profile",
    "redirect_uri": "http://localhost:{http}/anything/callback"
  }}}},
  "upstream": {{"type": "roundrobin", "nodes": {{"127.0.0.1:{echo}": 1}}}}
}}'

# Opens another one to machines that bring a token.

curl -sS "http://localhost:{admin}/apisix/admin/routes/machines" -X PUT -H "X-API-KEY: $ADMIN_KEY" -d '{{
  "uri": "/headers",
  "plugins": {{"openid-connect": {{
    "client_id": "'"$AUTH0_CLIENT_ID"'",
    "client_secret": "'"$AUTH0_CLIENT_SECRET"'",
    "discovery": "'"$ISSUER"'.well-known/openid-configuration",
    "bearer_only": true,
    "use_jwks": true
  }}}},
  "upstream": {{"type": "roundrobin", "nodes": {{"127.0.0.1:{echo}": 1}}}}
}}'

ACCESS_TOKEN=$(curl -sS "${{ISSUER}}oauth/token" -H 'content-type: application/json' -d '{{
  "client_id": "'"$AUTH0_CLIENT_ID"'",
  "client_secret": "'"$AUTH0_CLIENT_SECRET"'",
  "audience": "'"$AUTH0_AUDIENCE"'",
  "grant_type": "client_credentials"
}}' | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')

curl -i "http://localhost:{http}/headers" -H "Authorization: Bearer $ACCESS_TOKEN"

portcullis is ready
"##
    )
}
