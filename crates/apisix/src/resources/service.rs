use std::sync::LazyLock;

use super::{Description, Kind, host, id, plugins, upstream, with_common};
use crate::schema::Schema;

pub(super) static KIND: Description = Description {
    plural: "services",
    word: "service",
    schema_name: "service",
    schema: LazyLock::new(schema),
    posts: true,
    patches: true,
    references: &[("upstream_id", Kind::Upstream), ("upstream.tls.client_cert_id", Kind::Ssl)],
};

fn schema() -> Schema {
    let schema = Schema::object()
        .field("plugins", plugins())
        .field("upstream", upstream::schema().doc("where requests of its routes go"))
        .field("upstream_id", id().doc("an upstream of its own, by id"))
        .field("hosts", Schema::array(host()).at_least(1).unique().doc("hosts of its routes that name none"))
        .field("enable_websocket", Schema::boolean().doc("whether WebSocket upgrades are passed through"))
        .field("script", Schema::string().unimplemented().doc("Lua in place of plugins"));
    with_common(schema)
}
