//! Consumers, their credentials and their groups.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{Description, Kind, id, is_id, labels, plugins, with_common, with_times};
use crate::{plugins::Registry, schema::Schema};

pub(super) static CONSUMER: Description = Description {
    plural: "consumers",
    word: "consumer",
    schema_name: "consumer",
    schema: LazyLock::new(consumer),
    posts: false,
    patches: false,
    references: &[("group_id", Kind::ConsumerGroup)],
};

pub(super) static CREDENTIAL: Description = Description {
    plural: "credentials",
    word: "credential",
    schema_name: "credential",
    schema: LazyLock::new(credential),
    posts: false,
    patches: false,
    references: &[],
};

pub(super) static GROUP: Description = Description {
    plural: "consumer_groups",
    word: "consumer group",
    schema_name: "consumer_group",
    schema: LazyLock::new(group),
    posts: false,
    patches: true,
    references: &[],
};

fn consumer() -> Schema {
    let username = Schema::string().length(1, 256).pattern(r"^[a-zA-Z0-9_\-]+$");
    let schema = Schema::object()
        .required("username", username.doc("its name, and its id"))
        .field("group_id", id().doc("the consumer group whose plugins it inherits"))
        .field("plugins", plugins())
        .field("desc", Schema::string().length(0, 256).doc("description for people"))
        .field("labels", labels());
    with_times(schema)
}

fn credential() -> Schema {
    with_common(
        Schema::object().field("plugins", plugins().at_most(1).doc("one authentication plugin and its key")),
    )
}

fn group() -> Schema {
    with_common(Schema::object().required("plugins", plugins()))
}

/// Whether text may be a consumer's name.
pub(crate) fn is_username(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=256).contains(&text.len()) && text.bytes().all(allowed)
}

/// Consumer and id of a credential that is declared as `{username}/credentials/{id}`.
pub(crate) fn declared_credential(text: &str) -> Option<(&str, &str)> {
    let (consumer, rest) = text.split_once('/')?;
    let id = rest.strip_prefix("credentials/")?;
    (is_username(consumer) && is_id(id)).then_some((consumer, id))
}

pub(super) fn check_plugins(
    kind: Kind,
    registry: &Registry,
    plugins: &Map<String, Value>,
) -> Result<(), String> {
    registry.check_consumer(plugins).map_err(|error| format!("invalid plugins configuration: {error}"))?;
    let authenticates = |name: &String| registry.find(name).is_some_and(|plugin| plugin.authenticates());
    if kind == Kind::Credential && !plugins.keys().all(authenticates) {
        return Err("only supports auth type plugins in consumer credential".to_owned());
    }
    Ok(())
}
