use oauth::OAuthError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::request::invalid;

/// Bytes of the parameter.
const MAX_BYTES: usize = 8 * 1024;
/// Claims that may be asked for in one place.
const MAX_CLAIMS: usize = 64;
/// The parameter, a place in it, a claim's wishes, their list, and a claim that is an object.
const MAX_DEPTH: usize = 6;

/// Single claims that a client asks for, each with its wishes or null: the parameter `claims` (OpenID Connect Core 5.5).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimsRequest {
    /// For the ID token.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub id_token: Map<String, Value>,
    /// For `/userinfo`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub userinfo: Map<String, Value>,
}

impl ClaimsRequest {
    pub(crate) fn parse(text: &str) -> Result<Self, OAuthError> {
        let wrong = || invalid("The parameter claims is not the JSON object that OpenID Connect defines.");
        if text.len() > MAX_BYTES {
            return Err(invalid("The parameter claims is too long."));
        }
        let Ok(Value::Object(mut object)) = jose::parse_json(text.as_bytes(), MAX_DEPTH) else {
            return Err(wrong());
        };
        let mut place = |name: &str| match object.remove(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(claims)) if claims.len() <= MAX_CLAIMS && claims.values().all(is_wish) => {
                Ok(claims)
            }
            Some(_) => Err(wrong()),
        };
        // Other members are to be ignored.
        Ok(Self { id_token: place("id_token")?, userinfo: place("userinfo")? })
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.id_token.is_empty() && self.userinfo.is_empty()
    }

    /// The names of all claims asked for.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.id_token.keys().chain(self.userinfo.keys()).map(String::as_str)
    }

    /// The subject that both places are to be about, if one is named.
    ///
    /// # Errors
    ///
    /// Where they name two.
    pub(crate) fn subject(&self) -> Result<Option<String>, OAuthError> {
        let named = |place: &Map<String, Value>| place.get("sub").and_then(|wish| wish.get("value")).cloned();
        match [named(&self.id_token), named(&self.userinfo)] {
            [None, None] => Ok(None),
            [Some(one), Some(other)] if one != other => Err(invalid("claims names two subjects.")),
            [Some(Value::String(one)), _] | [None, Some(Value::String(one))] => Ok(Some(one)),
            _ => Err(invalid("The sub in claims is not a string.")),
        }
    }

    /// Whether the ID token must not be without a claim, or have one of certain values.
    pub(crate) fn insists(&self, name: &str) -> Option<Vec<&Value>> {
        let wish = self.id_token.get(name)?;
        let essential = wish.get("essential").and_then(Value::as_bool).unwrap_or(false);
        essential.then(|| values(wish))
    }
}

/// The values that will do; none where any does.
fn values(wish: &Value) -> Vec<&Value> {
    let several = wish.get("values").and_then(Value::as_array).into_iter().flatten();
    wish.get("value").into_iter().chain(several).collect()
}

fn is_wish(wish: &Value) -> bool {
    match wish {
        Value::Null => true,
        Value::Object(members) => {
            members.get("essential").is_none_or(Value::is_boolean)
                && members
                    .get("values")
                    .is_none_or(|values| values.as_array().is_some_and(|all| !all.is_empty()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_to_the_letter() {
        let text = r#"{"userinfo":{"name":{"essential":true},"email":null},"id_token":{"sub":{"value":"x"}},"else":1}"#;
        let claims = ClaimsRequest::parse(text).unwrap();
        assert_eq!(claims.names().collect::<Vec<_>>(), ["sub", "name", "email"]);
        assert_eq!(claims.subject().unwrap().as_deref(), Some("x"));
        assert!(ClaimsRequest::parse("{}").unwrap().is_empty());
        for bad in [
            "",
            "null",
            "[]",
            "\"name\"",
            r#"{"userinfo":["name"]}"#,
            r#"{"userinfo":{"name":true}}"#,
            r#"{"userinfo":{"name":{"essential":"yes"}}}"#,
            r#"{"id_token":{"acr":{"values":"1"}}}"#,
            r#"{"id_token":{"acr":{"values":[]}}}"#,
            r#"{"id_token":{"a":null,"a":null}}"#,
        ] {
            assert!(ClaimsRequest::parse(bad).is_err(), "{bad}");
        }
        assert!(ClaimsRequest::parse(&format!("{{\"x\":\"{}\"}}", "y".repeat(9000))).is_err());
        let two = r#"{"userinfo":{"sub":{"value":"y"}},"id_token":{"sub":{"value":"x"}}}"#;
        assert!(ClaimsRequest::parse(two).unwrap().subject().is_err());
    }

    #[test]
    fn only_essential_claims_insist() {
        let text = r#"{"id_token":{"acr":{"essential":true,"values":["1","2"]},"email":{"value":"a"}}}"#;
        let claims = ClaimsRequest::parse(text).unwrap();
        assert_eq!(claims.insists("acr").unwrap().len(), 2);
        assert!(claims.insists("email").is_none() && claims.insists("name").is_none());
    }
}
