//! The operator's reference is what the schemas say: `docs/kong.md` is rendered from them, and this test fails when it
//! is out of date. `UPDATE_DOCS=1 cargo test --package kong reference` writes it anew.

use std::{collections::BTreeSet, env, fmt::Write, fs, path::PathBuf};

use serde_json::Value;

use super::World;
use crate::{
    entities::Kind,
    schema::{Schema, Support},
};

/// Fields of earlier schemas that are still written.
const OLDER: [&str; 2] = ["consumer_claim", "post_logout_redirect_uri"];

const HEAD: &str = "# The Kong dialect

Kong's Admin API at its own port (8001 in `dev`), also under `/kong-admin` and `/default`: entities in JSON, forms and
multipart forms; paging, tags, `/schemas`, `/schemas/…/validate`, `/endpoints`, `/status`; and declarative configuration
by `GET` and `POST /config` (`check_hash=1`, `flatten_errors=1`), or from the start by `declarative_config` in the
[configuration](configuration.md). `GET /openid-connect/issuers` tells what is known of providers, and `DELETE` has it asked
for anew; `/openid-connect/jwks` has the keys of `private_key_jwt`, and `DELETE` gives them a successor, which signs when it
has been published for an hour. `DELETE /cache` throws away the tokens that are kept for callers. The requests of decK are answered. Where it answers otherwise than
Kong 3.9, on purpose, says [differences.md](differences.md). Routes are found in Kong's `traditional_compatible` order,
plugins run in the order of Kong's priorities, and of several of one name the one runs that is bound most closely to
route, service, consumer and group. A request that fits routes of both dialects goes by the rule in
[differences.md](differences.md).

What is stored and cannot be used (a reference that leads nowhere any more, another version's entity) is named under
`broken` at `/status`. A route serves on as it was, and is a 503 after a restart. A consumer or a consumer group is closed
at once: its credentials are no good, and a caller whose claims name it gets a 503, also where `consumer_optional` or
`consumer_groups_optional` is set.

A field that is *default only* is known, and refused with a 400 that names it when it is set to anything else. One that is
*moot* belongs to something that is refused so, and may be set because it means nothing without it.
";

fn table(schema: &Schema) -> String {
    let mut out = "| field | type | default | state | meaning |\n|---|---|---|---|---|\n".to_owned();
    for (name, field) in &schema.fields {
        let described = Schema::new().field(name, field.clone()).describe();
        let shape = described["fields"][0][name]["type"].as_str().unwrap_or_default().to_owned();
        let default = match &field.default {
            None => String::new(),
            Some(Value::Array(items)) if items.len() > 6 => format!("{} values", items.len()),
            Some(value) => format!("`{value}`").replace('|', "\\|"),
        };
        let mark = if field.required { " (required)" } else { "" };
        let state = match field.support {
            Support::Full => "built",
            Support::DefaultOnly => "default only",
            Support::Moot => "moot",
        };
        let secret = if field.secret { " (sealed at rest)" } else { "" };
        let doc = field.doc.replace('|', "\\|");
        writeln!(out, "| `{name}`{mark} | {shape} | {default} | {state} | {doc}{secret} |").unwrap();
    }
    out
}

#[tokio::test]
async fn the_page_of_the_dialect_is_what_its_schemas_say() {
    let world = World::new().await;
    let mut text = HEAD.to_owned();
    for kind in Kind::ALL {
        write!(text, "\n## `{}`\n\n{}", kind.plural(), table(kind.schema())).unwrap();
    }
    text.push_str("\n# Plugins\n");
    for plugin in world.dialect.registry().iter() {
        let (name, priority) = (plugin.name(), plugin.priority());
        write!(text, "\n## `{name}` ({priority})\n\n{}", table(&plugin.schema())).unwrap();
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/kong.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/kong.md is out of date: UPDATE_DOCS=1 cargo test --package kong reference"
    );
}

#[tokio::test]
async fn every_field_of_openid_connect_has_a_state() {
    let world = World::new().await;
    let schema = world.dialect.registry().find("openid-connect").unwrap().schema();
    let kongs: BTreeSet<&str> = include_str!("openid_connect_fields.txt").lines().collect();
    assert_eq!(kongs.len(), 234, "fields of the schema of Kong 3.15");
    let known: BTreeSet<&str> = schema.fields.keys().copied().collect();
    assert_eq!(kongs.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "not known");
    let more: Vec<&str> = known.difference(&kongs).copied().collect();
    assert_eq!(more, OLDER, "names that Kong 3.15 does not have");
    for (name, field) in &schema.fields {
        assert!(
            field.support == Support::DefaultOnly || !field.doc.is_empty(),
            "{name} is built and not described"
        );
    }
}
