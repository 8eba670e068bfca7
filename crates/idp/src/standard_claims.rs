//! What tokens and `/userinfo` say about a user: the claims of OpenID Connect Core 5.1, given by scopes (5.4) or asked for
//! one by one (5.5).

use base::UnixMillis;
use oauth::Scopes;
use serde_json::{Map, Value, json};

use crate::{
    Site,
    model::{User, iso8601},
};

/// Each scope and its claims (OpenID Connect Core 5.4, with Auth0's `nickname` where it has its place).
const SCOPES: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

/// Members of an address (OpenID Connect Core 5.1.1).
const ADDRESS: [&str; 6] = ["formatted", "street_address", "locality", "region", "postal_code", "country"];
/// Bytes of a claim that comes from the user's own metadata.
const MAX_OWN: usize = 1024;

/// Every claim about users that there is, for discovery.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    SCOPES.into_iter().flat_map(|(_, claims)| claims.iter().copied())
}

/// The claims of `asked` that `scope` does not give anyway.
pub(crate) fn beyond<'a>(scope: &Scopes, asked: impl Iterator<Item = &'a str>) -> Vec<&'static str> {
    let asked: Vec<&str> = asked.collect();
    let open = SCOPES.into_iter().filter(|(name, _)| !scope.contains(name));
    open.flat_map(|(_, claims)| claims.iter().copied()).filter(|claim| asked.contains(claim)).collect()
}

/// Adds the claims that the scopes give, and those asked for beside them.
pub(crate) fn user_claims<'a>(
    site: &Site,
    user: &User,
    scope: &Scopes,
    asked: impl Iterator<Item = &'a str>,
    claims: &mut Map<String, Value>,
) {
    let given = SCOPES.into_iter().filter(|(name, _)| scope.contains(name)).flat_map(|(_, claims)| claims);
    let given: Vec<&str> = given.copied().chain(beyond(scope, asked)).collect();
    for name in given {
        if let Some(value) = claim(site, user, name) {
            claims.insert(name.to_owned(), value);
        }
    }
}

fn claim(site: &Site, user: &User, name: &str) -> Option<Value> {
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    match name {
        "name" => Some(json!(user.display_name())),
        "nickname" => Some(json!(user.nickname())),
        "given_name" => text(&user.given_name),
        "family_name" => text(&user.family_name),
        // Most users have no name of their own beside their address.
        "preferred_username" => {
            text(&user.username).or_else(|| own_text(user.user_metadata.get("preferred_username")?))
        }
        "picture" => text(&user.picture),
        "updated_at" => {
            let at = UnixMillis(user.updated_at);
            let auth0 = site.tenant.settings.flags.auth0_claims;
            Some(if auth0 { json!(iso8601(at)) } else { json!(at.secs()) })
        }
        "email" => text(&user.email),
        "email_verified" => user.email.as_ref().map(|_| json!(user.email_verified)),
        "phone_number" => text(&user.phone_number),
        "phone_number_verified" => user.phone_number.as_ref().map(|_| json!(user.phone_verified)),
        "address" => address(user.user_metadata.get("address")?),
        own => own_text(user.user_metadata.get(own)?),
    }
}

/// What Auth0 has no attribute for, users say of themselves in their metadata. Of the right type, or not at all.
fn own_text(value: &Value) -> Option<Value> {
    value.as_str().filter(|text| !text.is_empty() && text.len() <= MAX_OWN).map(|text| json!(text))
}

fn address(value: &Value) -> Option<Value> {
    let members = value.as_object()?;
    let known = ADDRESS.into_iter().filter_map(|name| Some((name.to_owned(), own_text(members.get(name)?)?)));
    let address: Map<String, Value> = known.collect();
    (!address.is_empty()).then_some(Value::Object(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_beyond_the_scopes_are_told_apart() {
        let scope = Scopes::parse("openid email").unwrap();
        let asked = ["name", "email", "phone_number", "nonsense", "sub"];
        assert_eq!(beyond(&scope, asked.into_iter()), ["name", "phone_number"]);
    }

    #[test]
    fn an_address_has_known_members_only() {
        let value = json!({ "country": "DE", "street_address": 7, "planet": "Earth" });
        assert_eq!(address(&value), Some(json!({ "country": "DE" })));
        assert_eq!(address(&json!({ "planet": "Earth" })), None);
        assert_eq!(address(&json!("DE")), None);
    }
}
