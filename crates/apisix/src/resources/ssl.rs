use std::sync::LazyLock;

use serde_json::json;

use super::{Description, host, with_common};
use crate::schema::Schema;

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
            Schema::string()
                .choices(&["server"])
                .absent_choices(&["client"])
                .default("server")
                .doc("whose certificate it is"),
        )
        .field("sni", host().doc("server name: exact, or `*.` and the end of one"))
        .field("snis", Schema::array(host()).at_least(1).unique().doc("several server names"))
        .required("cert", pem().doc("certificate chain, PEM, end entity first"))
        .required("key", pem().secret().doc("its private key, PEM; never returned"))
        .field(
            "certs",
            Schema::array(pem()).unimplemented_except(json!([])).doc("certificates of other algorithms"),
        )
        .field("keys", Schema::array(pem()).unimplemented_except(json!([])).doc("their private keys"))
        .field("client", client().unimplemented().doc("client certificates are asked for"))
        .field(
            "ssl_protocols",
            Schema::array(Schema::string().choices(&["TLSv1.2", "TLSv1.3"]).absent_choices(&["TLSv1.1"]))
                .at_least(1)
                .unique()
                .doc("TLS versions that are spoken; default both"),
        )
        .field("status", Schema::integer().at_least(0).at_most(1).default(1).doc("1: served, 0: not"));
    with_common(schema).any_required(&[&["sni"], &["snis"]])
}

fn client() -> Schema {
    Schema::object()
        .required("ca", Schema::string().length(128, 65536).doc("authorities, PEM"))
        .field("depth", Schema::integer().at_least(0).default(1))
        .field("skip_mtls_uri_regex", Schema::array(Schema::string()).unimplemented())
}
