use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Description, Kind, host, id, plugins, timeout, upstream, with_common};
use crate::schema::{NONE_FITS, Schema};

/// Methods that a route may name.
const METHODS: &[&str] =
    &["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE"];

pub(super) static KIND: Description = Description {
    plural: "routes",
    word: "route",
    schema_name: "route",
    schema: LazyLock::new(schema),
    posts: true,
    patches: true,
    references: &[
        ("upstream_id", Kind::Upstream),
        ("service_id", Kind::Service),
        ("plugin_config_id", Kind::PluginConfig),
        ("upstream.tls.client_cert_id", Kind::Ssl),
    ],
};

fn schema() -> Schema {
    let schema = Schema::object()
        .field("uri", path().doc("path: exact, or a prefix when it ends in `*`"))
        .field("uris", paths().doc("several paths, in place of `uri`"))
        .field("paths", paths().doc("API7's spelling of `uris`"))
        .field("host", host().doc("host: exact, or every host that ends so after a `*`"))
        .field("hosts", Schema::array(host()).at_least(1).unique().doc("several hosts, in place of `host`"))
        .field("remote_addr", address().doc("client address or network (CIDR)"))
        .field("remote_addrs", Schema::array(address()).at_least(1).unique().doc("several of them"))
        .field(
            "methods",
            Schema::array(Schema::string().choices(METHODS)).unique().doc("methods; none: every method"),
        )
        .field("priority", Schema::integer().default(0).doc("among routes of one path, higher goes first"))
        .field("vars", Schema::array(Schema::any()).doc("condition over request variables"))
        .field("timeout", timeout().doc("overrides the upstream's"))
        .field("enable_websocket", Schema::boolean().doc("whether WebSocket upgrades are passed through"))
        .field("status", status().doc("1: routed, 0: not"))
        .field("plugins", plugins())
        .field("upstream", upstream::schema().doc("where requests go"))
        .field("upstream_id", id().doc("an upstream of its own, by id"))
        .field("plugin_config_id", id().doc("a shared set of plugins, by id"))
        .field("service_id", id().doc("the service whose hosts, plugins and upstream it inherits"));
    with_common(absent(schema)).clause(1, &[&["uri"], &["uris"], &["paths"]]).any_required_telling(
        &[&["plugins"], &["upstream"], &["upstream_id"], &["service_id"], &["script"]],
        // As APISIX names them, which clients compare; the rule above has dealt with the paths.
        &[
            &["plugins", "uri"],
            &["upstream", "uri"],
            &["upstream_id", "uri"],
            &["service_id", "uri"],
            &["plugins", "uris"],
            &["upstream", "uris"],
            &["upstream_id", "uris"],
            &["service_id", "uris"],
            &["script", "uri"],
            &["script", "uris"],
        ],
    )
}

/// What APISIX has and this build refuses by name.
fn absent(schema: Schema) -> Schema {
    schema
        .field("filter_func", Schema::string().unimplemented().doc("a condition in Lua"))
        .field("script", Schema::string().unimplemented().doc("Lua in place of plugins"))
        .field("script_id", id().unimplemented())
}

fn path() -> Schema {
    Schema::string().length(1, 4096)
}

fn paths() -> Schema {
    Schema::array(path()).at_least(1).unique()
}

fn address() -> Schema {
    Schema::string().length(0, 64).check(|value| match value.as_str().map(crate::compile::network) {
        // APISIX has four schemas for them, and says of none why it does not fit.
        Some(Err(_)) => Err(NONE_FITS.to_owned()),
        _ => Ok(()),
    })
}

fn status() -> Schema {
    Schema::integer().default(1).check(|value| {
        if [json!(0), json!(1)].contains(value) {
            Ok(())
        } else {
            Err("matches none of the enum values".to_owned())
        }
    })
}

/// APISIX checks these before its schema.
pub(super) fn check_before_schema(value: &Value) -> Result<(), String> {
    for (one, many) in [("host", "hosts"), ("remote_addr", "remote_addrs")] {
        if value.get(one).is_some() && value.get(many).is_some() {
            return Err(format!("only one of {one} or {many} is allowed"));
        }
    }
    Ok(())
}

/// And these after the plugins.
pub(super) fn check_after_plugins(value: &Value) -> Result<(), String> {
    match value.get("vars").map(expr::Expression::compile_for_routes) {
        Some(Err(error)) => Err(format!("failed to validate the 'vars' expression: {error}")),
        _ => Ok(()),
    }
}
