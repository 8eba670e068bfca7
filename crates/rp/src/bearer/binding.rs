use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::Refusal;

/// To whom a token is bound (RFC 7800): it is worth nothing without each proof that is named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Thumbprint of the key that signs proofs (RFC 9449 section 6.1).
    pub jkt: Option<Box<str>>,
    /// SHA-256 of the client certificate of the connection (RFC 8705 section 3.1).
    pub certificate: Option<[u8; 32]>,
}

impl Binding {
    /// Reads `cnf`. Members beside the two that are known are left alone (RFC 7800 section 3.1), but one of the two
    /// must be there: a token that is bound in another way is not taken as if it were not bound.
    pub(super) fn read(cnf: &Value) -> Result<Self, Refusal> {
        let digest = |name: &str| match cnf.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .and_then(|text| Some((text, URL_SAFE_NO_PAD.decode(text).ok()?)))
                .and_then(|(text, bytes)| Some((text, <[u8; 32]>::try_from(bytes).ok()?)))
                .map(Some)
                .ok_or(Refusal::Bound),
        };
        let (jkt, certificate) = (digest("jkt")?, digest("x5t#S256")?);
        if jkt.is_none() && certificate.is_none() {
            return Err(Refusal::Bound);
        }
        Ok(Self { jkt: jkt.map(|(text, _)| text.into()), certificate: certificate.map(|(_, digest)| digest) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_binding_that_is_not_understood_is_not_overlooked() {
        let digest = URL_SAFE_NO_PAD.encode([7; 32]);
        let read = |cnf: Value| Binding::read(&cnf);
        assert_eq!(read(json!({"jkt": digest, "x": 1})).unwrap().jkt.as_deref(), Some(digest.as_str()));
        let both = read(json!({"jkt": digest, "x5t#S256": digest})).unwrap();
        assert!(both.jkt.is_some() && both.certificate == Some([7; 32]));
        for odd in [
            json!(null),
            json!("x"),
            json!([]),
            json!({}),
            json!({"jwk": {}}),
            json!({"jkt": null}),
            json!({"jkt": ""}),
            json!({"jkt": "x"}),
            json!({"jkt": format!("{digest}=")}),
            json!({"jkt": [digest]}),
            json!({"jkt": digest, "x5t#S256": 1}),
            json!({"x5t": digest}),
        ] {
            assert_eq!(read(odd.clone()), Err(Refusal::Bound), "{odd}");
        }
    }
}
