use super::{host, id, plugins, upstream, with_common};
use crate::schema::Schema;

pub(super) fn schema() -> Schema {
    let schema = Schema::object()
        .field("plugins", plugins())
        .field("upstream", upstream::schema().doc("where requests of its routes go"))
        .field("upstream_id", id().doc("an upstream of its own, by id"))
        .field("hosts", Schema::array(host()).at_least(1).unique().doc("hosts of its routes that name none"))
        .field("enable_websocket", Schema::boolean().doc("whether WebSocket upgrades are passed through"))
        .field("script", Schema::string().unimplemented().doc("Lua in place of plugins"));
    with_common(schema)
}
