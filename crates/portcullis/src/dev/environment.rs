//! `DIR/dev.env`: where things are and with which credentials, for a shell to read.

use std::path::Path;

use base::Secret;
use idp::seed::DevCredentials;

use super::{certificates::DevCertificates, ports::Ports};

/// The file's text: lines of `export NAME=VALUE`.
pub(crate) fn text(
    ports: Ports,
    key: &Secret<String>,
    demo: &DevCredentials,
    certificates: &DevCertificates,
) -> String {
    let key = key.expose();
    let issuer = format!("http://localhost:{}/", ports.identity());
    let domain = format!("localhost:{}", ports.identity_tls());
    let path = |path: &Path| path.display().to_string();
    let (authority, bundle) = (path(&certificates.authority), path(&certificates.bundle));
    let pairs: [(&str, &str); 14] = [
        ("ADMIN_KEY", key),
        ("APISIX_ADMIN_KEY", key),
        ("YOUR_API_KEY", key),
        ("ISSUER", &issuer),
        ("AUTH0_DOMAIN", &domain),
        ("AUTH0_CLIENT_ID", &demo.client_id),
        ("AUTH0_CLIENT_SECRET", demo.client_secret.expose()),
        ("AUTH0_AUDIENCE", &demo.audience),
        ("AUTH0_MGMT_CLIENT_ID", &demo.management_client_id),
        ("AUTH0_MGMT_CLIENT_SECRET", demo.management_client_secret.expose()),
        ("DEMO_USER", &demo.user),
        ("DEMO_PASSWORD", demo.password.expose()),
        ("DEV_CA", &authority),
        ("CURL_CA_BUNDLE", &bundle),
    ];
    pairs.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
}

/// `value` as one word of a shell, bare where nothing in it means anything to one.
fn quoted(value: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !value.is_empty() && value.bytes().all(bare) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_single_words_for_a_shell() {
        assert_eq!(quoted("http://localhost:9400/"), "http://localhost:9400/");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
