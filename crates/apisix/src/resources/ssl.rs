use std::sync::LazyLock;

use serde_json::Value;

use super::{Description, host, with_common};
use crate::{compile, schema::Schema};

pub(super) static KIND: Description = Description {
    plural: "ssls",
    word: "ssl",
    schema_name: "ssl",
    schema: LazyLock::new(schema),
    posts: true,
    patches: true,
    references: &[],
};

fn schema() -> Schema {
    let pem = || Schema::string().length(128, 65536);
    let schema = Schema::object()
        .field(
            "type",
            Schema::string().choices(&["server", "client"]).default("server").doc(
                "`server`: shown to clients that ask for its names; `client`: shown to upstreams whose \
                 `tls.client_cert_id` names it",
            ),
        )
        .field(
            "sni",
            host().doc("server name: exact, `*.` and the end of one, or `*` for all that have no other"),
        )
        .field("snis", Schema::array(host()).at_least(1).unique().doc("several server names"))
        .required("cert", pem().doc("certificate chain, PEM, end entity first"))
        .required("key", pem().secret().doc("its private key, PEM; never returned"))
        .field(
            "certs",
            Schema::array(pem())
                .doc("further chains, of other algorithms: the first that a client knows is shown"),
        )
        .field(
            "keys",
            Schema::array(pem()).doc("their private keys, in the same order; sealed, never returned"),
        )
        .field("client", client().doc("client certificates are asked for; for `server` only"))
        .field(
            "ssl_protocols",
            Schema::array(Schema::string().choices(&["TLSv1.2", "TLSv1.3"]).absent_choices(&["TLSv1.1"]))
                .at_least(1)
                .unique()
                .doc("TLS versions that are spoken; default both"),
        )
        .field("status", Schema::integer().at_least(0).at_most(1).default(1).doc("1: served, 0: not"));
    with_common(schema).check(has_what_its_type_needs)
}

fn client() -> Schema {
    let patterns = Schema::array(Schema::string().length(1, 4096)).at_least(1).at_most(100).unique();
    Schema::object()
        .required("ca", Schema::string().length(128, 65536).doc("authorities that issue the certificates, PEM"))
        .field(
            "depth",
            Schema::integer()
                .at_least(0)
                .at_most(100)
                .default(1)
                .doc("intermediate certificates that a chain may have"),
        )
        .field(
            "skip_mtls_uri_regex",
            patterns.doc(
                "patterns, in linear time, of paths that need no certificate; with them a connection needs none, and \
                 other paths are answered 400 without one",
            ),
        )
}

fn has_what_its_type_needs(value: &Value) -> Result<(), String> {
    let has = |name: &str| value.get(name).is_some();
    if value.get("type").is_some_and(|kind| kind == "client") {
        return if has("client") {
            Err("`client` asks clients for certificates, so it needs `type: server`".to_owned())
        } else {
            Ok(())
        };
    }
    if has("sni") || has("snis") {
        return Ok(());
    }
    // APISIX's text for: `sni` or `snis` is required for `type: server`.
    Err("then clause did not match".to_owned())
}

pub(super) fn check(value: &Value) -> Result<(), String> {
    let length = |member: &str| value.get(member).and_then(Value::as_array).map_or(0, Vec::len);
    if length("certs") != length("keys") {
        return Err("mismatched number of certs and keys".to_owned());
    }
    let odd = compile::server_names(value).into_iter().find(|name| {
        let rest = name.strip_prefix("*.").unwrap_or(name);
        *name != "*" && (rest.is_empty() || rest.contains('*'))
    });
    odd.map_or(Ok(()), |name| {
        Err(format!("invalid configuration: `{name}`: expected a name, `*.` before the end of one, or `*`"))
    })
}
