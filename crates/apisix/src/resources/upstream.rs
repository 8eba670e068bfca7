use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Description, Kind, host, id, timeout, with_common};
use crate::{
    compile::{
        self,
        checks::{ACTIVE, Defaults, PASSIVE},
    },
    schema::Schema,
};

pub(super) static KIND: Description = Description {
    plural: "upstreams",
    word: "upstream",
    schema_name: "upstream",
    schema: LazyLock::new(schema),
    posts: true,
    patches: true,
    references: &[("tls.client_cert_id", Kind::Ssl)],
};

pub(super) fn schema() -> Schema {
    let schema = Schema::object()
        .field(
            "type",
            Schema::string()
                .choices(&["roundrobin", "chash", "least_conn", "ewma"])
                .default("roundrobin")
                .doc("how requests are spread over the nodes: by turns, by consistent hashing, to the one that is at the fewest requests for its weight, or of two that are drawn to the one that answered faster lately for its weight"),
        )
        .field(
            "hash_on",
            Schema::string()
                .choices(&["vars", "header", "cookie", "consumer", "vars_combinations"])
                .default("vars")
                .doc("what `chash` hashes: the variable, header or cookie that `key` names, the consumer's name, or `key` as a text of variables; the client's address where the request has none of it"),
        )
        .field("key", Schema::string().length(0, 1024).doc("what is hashed by `type: chash`"))
        .field("nodes", nodes().doc("targets: `{\"host:port\": weight}` or a list of objects"))
        .field(
            "scheme",
            Schema::string()
                .choices(&["http", "https", "grpc", "grpcs"])
                .absent_choices(&["tcp", "tls", "udp", "kafka"])
                .default("http")
                .doc("protocol towards the nodes"),
        )
        .field(
            "pass_host",
            Schema::string()
                .choices(&["pass", "node", "rewrite"])
                .default("pass")
                .doc("the Host that nodes see: the client's, the node's own, or `upstream_host`"),
        )
        .field("upstream_host", host().doc("the Host for `pass_host: rewrite`"))
        .field(
            "retries",
            Schema::integer()
                .at_least(0)
                .at_most(1000)
                .doc("further tries; default: one for each further node"),
        )
        .field(
            "retry_timeout",
            Schema::number()
                .at_least(0)
                .at_most(31_536_000)
                .doc("seconds after which no further try begins; 0: no limit"),
        )
        .field("timeout", timeout().doc("limits of one try; default 60 s each"))
        .field("keepalive_pool", keepalive_pool().doc("idle connections to a node"))
        .field("tls", tls().doc("TLS towards the nodes, for `https` and `grpcs`"))
        .field("checks", checks().doc("which nodes are well: the others get no requests, unless none is"));
    with_common(absent(schema)).one_required(&[&["nodes"], &["service_name", "discovery_type"]])
}

/// What APISIX has and this build refuses by name.
fn absent(schema: Schema) -> Schema {
    let text = || Schema::string().unimplemented();
    schema
        .field("service_name", text().doc("service discovery"))
        .field("discovery_type", text().doc("service discovery"))
        .field("discovery_args", Schema::object().open().unimplemented().doc("service discovery"))
}

fn checks() -> Schema {
    let kind = || Schema::string().choices(&["http", "https", "tcp"]).default("http");
    let statuses = |default: &[u16]| {
        let status = Schema::integer().at_least(200).at_most(599);
        Schema::array(status).at_least(1).unique().default(json!(default))
    };
    let count = |default: u8| Schema::integer().at_least(1).at_most(254).default(default);
    let interval = || Schema::integer().at_least(1).at_most(31_536_000).default(1).doc("seconds");
    let healthy = |section: Schema, default: &Defaults| {
        section
            .field("http_statuses", statuses(default.healthy_statuses))
            .field("successes", count(default.successes))
    };
    let unhealthy = |section: Schema, default: &Defaults| {
        section
            .field("http_statuses", statuses(default.unhealthy_statuses))
            .field("http_failures", count(default.http_failures))
            .field("tcp_failures", count(default.tcp_failures))
            .field("timeouts", count(default.timeouts))
    };
    let timed = || Schema::object().field("interval", interval());
    let active = Schema::object()
        .field("type", kind().doc("what nodes are asked: a status, over TLS, or a connection alone"))
        .field("timeout", Schema::number().above(0).at_most(31_536_000).default(1).doc("seconds"))
        .field("concurrency", Schema::integer().at_least(1).at_most(65_535).default(10))
        .field(
            "host",
            host().doc("the Host, and over TLS the name; default: the one that requests have, or the node's"),
        )
        .field("port", Schema::integer().at_least(1).at_most(65_535).doc("default: the node's"))
        .field("http_path", Schema::string().default("/"))
        .field("https_verify_certificate", Schema::boolean().default(json!(true)))
        .field("req_headers", Schema::array(Schema::string()).at_least(1).doc("each `Name: value`"))
        .field("http_method", Schema::string().unimplemented_except("GET"))
        .field("http_req_body", Schema::string().unimplemented_except(""))
        .field("healthy", healthy(timed(), &ACTIVE).doc("nodes that are well; without it they are not asked"))
        .field(
            "unhealthy",
            unhealthy(timed(), &ACTIVE).doc("nodes that are not; without it they are not asked"),
        );
    let passive = Schema::object()
        .field("type", Schema::string().choices(&["http", "https"]).absent_choices(&["tcp"]).default("http"))
        .field("healthy", healthy(Schema::object(), &PASSIVE))
        .field("unhealthy", unhealthy(Schema::object(), &PASSIVE));
    Schema::object()
        .field("active", active.doc("nodes are asked"))
        .field("passive", passive.doc("what they answer to clients counts"))
        .any_required(&[&["active"], &["active", "passive"]])
}

fn nodes() -> Schema {
    let weight = || Schema::integer().at_least(0).at_most(i64::from(u32::MAX));
    let node = Schema::object()
        .required("host", host())
        .field("port", Schema::integer().at_least(1).at_most(65535).doc("default: the scheme's"))
        .required("weight", weight().doc("share of the requests; 0: none"))
        .field(
            "priority",
            Schema::integer().at_least(i64::from(i32::MIN)).at_most(i64::from(i32::MAX)).default(0),
        )
        .field("metadata", Schema::object().open().doc("notes for people"));
    Schema::any_of(vec![Schema::map(weight()), Schema::array(node)])
}

fn keepalive_pool() -> Schema {
    let count = || Schema::integer().at_least(1).at_most(i64::from(u32::MAX));
    Schema::object()
        .field("size", count().default(320).doc("at most so many idle ones on each core"))
        .field("idle_timeout", Schema::number().at_least(0).at_most(31_536_000).default(60).doc("seconds"))
        .field("requests", count().default(1000).doc("requests on one connection"))
}

fn tls() -> Schema {
    let pem = || Schema::string().length(128, 65536);
    Schema::object()
        .field(
            "client_cert_id",
            id().doc("id of an ssl of `type: client`, whose certificate is shown to the nodes"),
        )
        .field("client_cert", pem().doc("certificate shown to the nodes, PEM"))
        .field("client_key", pem().secret().doc("its private key, PEM"))
        .field(
            "verify",
            Schema::boolean()
                .default(json!(true))
                .doc("whether the node's certificate and name are verified"),
        )
        .check(one_certificate)
}

/// A certificate and its key, or the id of an ssl that holds both; in APISIX's words.
fn one_certificate(tls: &Value) -> Result<(), String> {
    let has = |name: &str| tls.get(name).is_some();
    for (member, needed) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if has(member) && !has(needed) {
            return Err(format!(
                "failed to validate dependent schema for \"{member}\": property \"{needed}\" is required"
            ));
        }
    }
    if !(has("client_cert_id") && has("client_cert")) {
        return Ok(());
    }
    Err("failed to validate dependent schema for \"client_cert\": value wasn't supposed to match schema"
        .to_owned())
}

/// A variable that `type: chash` hashes, as APISIX writes it: the range of its argument's letters reaches over what stands
/// between `Z` and `a`.
pub(crate) static HASH_VARIABLE: LazyLock<Schema> = LazyLock::new(|| {
    Schema::string().pattern(
        "^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)\
         |arg_[0-9a-zA-z_-]+)$",
    )
});
/// A header or cookie that it hashes.
pub(crate) static HASH_NAME: LazyLock<Schema> =
    LazyLock::new(|| Schema::string().pattern("^[a-zA-Z0-9-_]+$"));

/// What `type: chash` hashes.
fn check_key(value: &Value) -> Result<(), String> {
    let is = |member: &str, word: &str| value.get(member).is_some_and(|found| found == word);
    if !is("type", "chash") || is("hash_on", "consumer") {
        return Ok(());
    }
    let key = value.get("key").ok_or("missing key")?;
    let schema = match value.get("hash_on").and_then(Value::as_str) {
        Some("header" | "cookie") => &HASH_NAME,
        Some("vars_combinations") => return Ok(()),
        _ => &HASH_VARIABLE,
    };
    schema.validate(key).map_err(|error| format!("invalid configuration: {error}"))
}

/// What the schema cannot say.
pub(super) fn check(value: &Value) -> Result<(), String> {
    if value.get("pass_host").is_some_and(|mode| mode == "rewrite") && value.get("upstream_host").is_none() {
        return Err("`upstream_host` can't be empty when `pass_host` is `rewrite`".to_owned());
    }
    check_key(value)?;
    compile::upstream_spec("check", value)
        .map(drop)
        .map_err(|error| format!("invalid configuration: {error}"))
}
