//! Sets of plugins that hold for every route, or for those that name them.

use std::sync::LazyLock;

use super::{Description, plugins, with_common};
use crate::schema::Schema;

pub(super) static GLOBAL_RULE: Description = Description {
    plural: "global_rules",
    word: "global rule",
    schema_name: "global_rule",
    schema: LazyLock::new(schema),
    posts: false,
    patches: true,
    references: &[],
};

pub(super) static PLUGIN_CONFIG: Description = Description {
    plural: "plugin_configs",
    word: "plugin config",
    schema_name: "plugin_config",
    schema: LazyLock::new(schema),
    posts: false,
    patches: true,
    references: &[],
};

fn schema() -> Schema {
    with_common(Schema::object().required("plugins", plugins()))
}
