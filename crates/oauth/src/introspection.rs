use serde_json::{Map, Value};

use crate::{MessageError, Scopes};

/// What an introspection endpoint says of a token that is active (RFC 7662 section 2.2).
#[derive(Clone, Debug, PartialEq)]
pub struct IntrospectionResponse {
    claims: Map<String, Value>,
}

impl IntrospectionResponse {
    /// Reads the body of a 200 answer. `Ok(None)`: the token is not active, which is everything but
    /// `"active": true` itself; the string `"true"` and the number 1 are not.
    ///
    /// # Errors
    ///
    /// Not a JSON object with distinct names.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, MessageError> {
        Ok(Self::of(crate::json_object(body)?))
    }

    /// The same of an answer that was read already.
    pub fn of(claims: Map<String, Value>) -> Option<Self> {
        matches!(claims.get("active"), Some(Value::Bool(true))).then_some(Self { claims })
    }

    /// All members of the answer.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// All members of the answer, taken out.
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }

    /// `exp` in seconds since the epoch, where it is a number.
    pub fn exp(&self) -> Option<i64> {
        self.claims.get("exp").and_then(Value::as_i64)
    }

    /// `scope`, where it is a well-formed string.
    pub fn scope(&self) -> Option<Scopes> {
        self.text("scope").and_then(|text| Scopes::parse(text).ok())
    }

    /// `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.text("client_id")
    }

    /// `sub`.
    pub fn sub(&self) -> Option<&str> {
        self.text("sub")
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j51_active_is_the_boolean_true_and_nothing_else() {
        for inactive in
            [r#"{"active":"true"}"#, r#"{"active":1}"#, r#"{"active":false}"#, r#"{"active":null}"#, "{}"]
        {
            assert_eq!(IntrospectionResponse::parse(inactive.as_bytes()), Ok(None), "{inactive}");
        }
        for junk in ["", "[]", "true", "<html>", r#"{"active":false,"active":true}"#] {
            assert!(IntrospectionResponse::parse(junk.as_bytes()).is_err(), "{junk}");
        }
    }

    #[test]
    fn the_claims_of_an_active_token_are_kept() {
        let body = br#"{"active":true,"scope":"a b","client_id":"c","sub":"s","exp":12,"x":[1]}"#;
        let response = IntrospectionResponse::parse(body).unwrap().unwrap();
        assert_eq!((response.client_id(), response.sub(), response.exp()), (Some("c"), Some("s"), Some(12)));
        assert!(response.scope().unwrap().contains("b"));
        assert!(response.claims().contains_key("x"));
    }
}
