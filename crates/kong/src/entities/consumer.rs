//! Consumers, their groups, and who belongs to which.

use super::{stamped, tags, values};
use crate::schema::{Field, Schema};

pub(super) fn schema() -> Schema {
    stamped()
        .field("username", Field::string().unique().doc("stands for the id in paths; unique"))
        .field("custom_id", Field::string().unique().doc("what another system calls it; unique"))
        .field("tags", tags())
        .at_least_one_of(&["custom_id", "username"])
}

pub(super) fn group() -> Schema {
    stamped()
        .field(
            "name",
            Field::string().required().unique().text(values::name).doc("stands for the id in paths; unique"),
        )
        .field("tags", tags())
}

pub(super) fn member() -> Schema {
    stamped()
        .field("consumer", Field::foreign("consumers").required().doc("who belongs to the group"))
        .field("consumer_group", Field::foreign("consumer_groups").required().doc("the group"))
}
