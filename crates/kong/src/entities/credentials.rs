//! What consumers prove themselves by, and the groups that access lists speak of.

use serde_json::{Value, json};

use super::{stamped, tags};
use crate::schema::{Field, Schema, Then};

/// Algorithms of tokens whose secret both sides have.
const SYMMETRIC: [&str; 3] = ["HS256", "HS384", "HS512"];
const ALGORITHMS: [&str; 14] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384",
    "PS512", "EdDSA", NONE,
];
const NONE: &str = "none";

fn of_consumer() -> Schema {
    stamped().field("consumer", Field::foreign("consumers").required().doc("whose it is"))
}

pub(super) fn key_auth() -> Schema {
    of_consumer()
        .field(
            "key",
            Field::string().unique().auto().secret().doc("the key; generated where it is left out; unique"),
        )
        .field("ttl", Field::integer().unimplemented())
        .field("tags", tags())
}

pub(super) fn basic_auth() -> Schema {
    of_consumer()
        .field("username", Field::string().required().unique().text(no_colon).doc("the name; unique"))
        .field(
            "password",
            Field::string()
                .required()
                .secret()
                .doc("what is kept of it is the SHA-1 of password and consumer id, sealed"),
        )
        .field("tags", tags())
}

/// RFC 7617 section 2: what stands before the first colon is the name.
fn no_colon(text: &str) -> Result<(), String> {
    if text.contains(':') { Err("it must not have a colon".to_owned()) } else { Ok(()) }
}

pub(super) fn jwt() -> Schema {
    let schema = of_consumer()
        .field(
            "key",
            Field::string()
                .unique()
                .auto()
                .doc("what tokens call it; generated where it is left out; unique"),
        )
        .field("secret", Field::string().auto().secret().doc("what HS* tokens are signed with"))
        .field("rsa_public_key", Field::string().doc("PEM of the key that other tokens are verified with"))
        .field(
            "algorithm",
            Field::string()
                .default("HS256")
                .one_of(&ALGORITHMS)
                .text(not_none)
                .doc("the one algorithm of its tokens"),
        )
        .field("tags", tags());
    let asymmetric = ALGORITHMS.into_iter().filter(|alg| !SYMMETRIC.contains(alg) && *alg != NONE);
    asymmetric
        .fold(schema, |schema, alg| schema.conditional("algorithm", alg, "rsa_public_key", Then::Required))
}

fn not_none(text: &str) -> Result<(), String> {
    if text == NONE { Err("tokens without a signature prove nothing".to_owned()) } else { Ok(()) }
}

pub(super) fn hmac_auth() -> Schema {
    of_consumer()
        .field("username", Field::string().required().unique().doc("what signatures call it; unique"))
        .field(
            "secret",
            Field::string()
                .auto()
                .secret()
                .doc("what requests are signed with; generated where it is left out"),
        )
        .field("tags", tags())
}

pub(super) fn acl() -> Schema {
    of_consumer()
        .field("group", Field::string().required().doc("a group that access lists may name"))
        .field("tags", tags())
}

/// Letters that Kong's generated keys have.
pub(crate) const GENERATED: usize = 32;

/// The fields of a credential that are made up where they are left out.
pub(crate) fn generated(kind: super::Kind) -> &'static [&'static str] {
    match kind {
        super::Kind::KeyAuth => &["key"],
        super::Kind::Jwt => &["key", "secret"],
        super::Kind::HmacAuth => &["secret"],
        _ => &[],
    }
}

/// What Kong keeps of a password, in its form: the SHA-1 of password and consumer id.
pub(crate) fn password_hash(password: &str, consumer: &str) -> Value {
    let text = zeroize::Zeroizing::new(format!("{password}{consumer}"));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    json!(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
