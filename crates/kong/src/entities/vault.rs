//! Vaults: where the values of `{vault://…}` come from. Of Kong's, `env` is here: the process's own environment.

use std::sync::Arc;

use super::{stamped, tags, values};
use crate::schema::{Field, Schema};

/// The vault that this build has.
pub(crate) const NAME: &str = "env";
/// Vaults of Kong that this build does not have.
const ABSENT: [&str; 5] = ["aws", "azure", "conjur", "gcp", "hcv"];

pub(super) fn schema() -> Schema {
    let config = Schema::new()
        .field("prefix", Field::string().text(prefix).doc("what the names of the variables begin with"));
    stamped()
        .field(
            "prefix",
            Field::string()
                .required()
                .unique()
                .text(values::vault_prefix)
                .doc("what references call it; unique"),
        )
        .field("name", Field::string().required().text(name).doc("which vault: `env`"))
        .field("description", Field::string().doc("for people"))
        .field("config", Field::record(Arc::new(config)).doc("of the vault"))
        .field("tags", tags())
}

fn name(text: &str) -> Result<(), String> {
    match text {
        NAME => Ok(()),
        other if ABSENT.contains(&other) => {
            Err(format!("the vault '{other}' is not implemented in this build"))
        }
        _ => Err("vault '".to_owned() + &values::excerpt(text) + "' is not installed"),
    }
}

fn prefix(text: &str) -> Result<(), String> {
    let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if good { Ok(()) } else { Err(format!("invalid value: {}", values::excerpt(text))) }
}
