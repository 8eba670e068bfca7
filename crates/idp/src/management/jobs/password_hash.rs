//! `password_hash` and `custom_password_hash` of an import, as they are kept until the user's next login.
//!
//! What is said of a hash is understood, or refused by the member's name: a hash that is read wrong locks its user out.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Map, Value};

use super::import::Flaw;
use crate::password::{
    digested::{DigestName, Digested, Encoding, MAX_SALT, Method, Position},
    imported,
};

const NAME: &str = "custom_password_hash";
/// RFC 2307 and what followed it: the scheme, its digest, and whether there is a salt behind it.
const LDAP_SCHEMES: [(&str, DigestName, bool); 10] = [
    ("MD5", DigestName::Md5, false),
    ("SMD5", DigestName::Md5, true),
    ("SHA", DigestName::Sha1, false),
    ("SSHA", DigestName::Sha1, true),
    ("SHA256", DigestName::Sha256, false),
    ("SSHA256", DigestName::Sha256, true),
    ("SHA384", DigestName::Sha384, false),
    ("SSHA384", DigestName::Sha384, true),
    ("SHA512", DigestName::Sha512, false),
    ("SSHA512", DigestName::Sha512, true),
];

/// The hash of a record's password, as it is kept.
pub(super) fn take(record: &mut Map<String, Value>) -> Result<Option<String>, Flaw> {
    let (plain, custom) = (record.shift_remove("password_hash"), record.shift_remove(NAME));
    let (member, hash) = match (plain, custom) {
        (None | Some(Value::Null), None | Some(Value::Null)) => return Ok(None),
        (Some(Value::String(hash)), None | Some(Value::Null)) if hash.starts_with("$2") => {
            ("password_hash", hash)
        }
        (None | Some(Value::Null), Some(Value::Object(custom))) => {
            ("custom_password_hash.hash.value", Members::of(NAME, &custom).hash()?)
        }
        (Some(_), None | Some(Value::Null)) => {
            return Err(refused("password_hash", "Expected a hash by bcrypt"));
        }
        _ => return Err(refused("password_hash", "It does not go with custom_password_hash")),
    };
    match imported::is_acceptable(&hash) {
        true => Ok(Some(hash)),
        false => Err(refused(member, "The hash cannot be read, or checking it would take too long")),
    }
}

fn refused(member: &str, text: &str) -> Flaw {
    Flaw("INVALID_FORMAT", text.to_owned(), Some(member.to_owned()))
}

/// An object, and where it stands.
struct Members<'a> {
    place: String,
    members: Option<&'a Map<String, Value>>,
}

impl<'a> Members<'a> {
    fn of(place: &str, members: &'a Map<String, Value>) -> Self {
        Self { place: place.to_owned(), members: Some(members) }
    }

    /// The whole `custom_password_hash`.
    fn hash(&self) -> Result<String, Flaw> {
        let algorithm = self.text("algorithm")?.unwrap_or_default();
        let salted = ["algorithm", "hash", "salt", "password"];
        match algorithm {
            "argon2" => self.written("$argon2", algorithm),
            "bcrypt" => self.written("$2", algorithm),
            "pbkdf2" => self.written("$pbkdf2", algorithm),
            "ldap" => {
                self.only(&["algorithm", "hash", "password"], algorithm)?;
                let hash = self.object("hash")?;
                hash.only(&["value", "encoding"], algorithm)?;
                hash.utf8()?;
                self.ldap(&hash)
            }
            "md5" | "sha1" | "sha256" | "sha512" => {
                self.only(&salted, algorithm)?;
                let hash = self.object("hash")?;
                hash.only(&["value", "encoding"], algorithm)?;
                let digest = DigestName::parse(algorithm).ok_or_else(|| self.unknown_algorithm())?;
                let (salt, position) = self.salt()?;
                self.made(&hash, Method::Digest { digest, position }, salt)
            }
            "hmac" => {
                self.only(&salted, algorithm)?;
                let hash = self.object("hash")?;
                hash.only(&["value", "encoding", "digest", "key"], algorithm)?;
                let name = hash.text("digest")?.unwrap_or_default();
                let expected = "Expected md5, sha1, sha224, sha256, sha384 or sha512";
                let digest = DigestName::parse(name).ok_or_else(|| hash.wrong("digest", expected))?;
                let key = hash.object("key")?;
                key.only(&["value", "encoding"], algorithm)?;
                let key = key.bytes(Some("utf8"))?;
                let (salt, position) = self.salt()?;
                self.made(&hash, Method::Hmac { digest, key, position }, salt)
            }
            "scrypt" => self.scrypt(),
            _ => Err(self.unknown_algorithm()),
        }
    }

    fn unknown_algorithm(&self) -> Flaw {
        let text =
            "Only argon2, bcrypt, hmac, ldap, md5, pbkdf2, scrypt, sha1, sha256 and sha512 are supported";
        self.wrong("algorithm", text)
    }

    /// A hash that says salt and cost itself.
    fn written(&self, prefix: &str, algorithm: &str) -> Result<String, Flaw> {
        self.only(&["algorithm", "hash", "password"], algorithm)?;
        let password = self.object("password")?;
        password.only(&["encoding"], algorithm)?;
        password.utf8()?;
        let hash = self.object("hash")?;
        hash.only(&["value", "encoding"], algorithm)?;
        hash.utf8()?;
        let value = hash.value()?;
        if !value.starts_with(prefix) {
            return Err(hash.wrong("value", &format!("It is not a hash by {algorithm}")));
        }
        Ok(value.to_owned())
    }

    fn ldap(&self, hash: &Members<'_>) -> Result<String, Flaw> {
        let unreadable = || hash.wrong("value", "It is not a hash by ldap, of a scheme that is supported");
        let (scheme, text) =
            hash.value()?.strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or_else(unreadable)?;
        let known = LDAP_SCHEMES.into_iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let (_, digest, salted) = known.ok_or_else(unreadable)?;
        let bytes = base64(text).ok_or_else(unreadable)?;
        let (hash, salt) = bytes.split_at_checked(digest.len()).ok_or_else(unreadable)?;
        if salted == salt.is_empty() {
            return Err(unreadable());
        }
        let method = Method::Digest { digest, position: Position::Suffix };
        let (encoding, salt, hash) = (self.encoding()?, salt.to_vec(), hash.to_vec());
        Ok(Digested { method, encoding, salt, hash }.to_text())
    }

    fn scrypt(&self) -> Result<String, Flaw> {
        const MEMBERS: [&str; 8] =
            ["algorithm", "hash", "salt", "password", "keylen", "cost", "blockSize", "parallelization"];
        self.only(&MEMBERS, "scrypt")?;
        let hash = self.object("hash")?;
        hash.only(&["value", "encoding"], "scrypt")?;
        let salt = self.object("salt")?;
        salt.only(&["value", "encoding"], "scrypt")?;
        let salt = salt.bytes(Some("utf8"))?;
        let length = self.number("keylen")?.ok_or_else(|| self.wrong("keylen", "Expected type integer"))?;
        // Those of Node.js.
        let cost = self.number("cost")?.unwrap_or(16_384);
        let block_size = self.number("blockSize")?.unwrap_or(8);
        let lanes = self.number("parallelization")?.unwrap_or(1);
        if !cost.is_power_of_two() || cost < 2 {
            return Err(self.wrong("cost", "Expected a power of two"));
        }
        if hash.bytes(None)?.len() as u64 != u64::from(length) {
            return Err(self.wrong("keylen", "Expected the length of the hash"));
        }
        let log_cost = u8::try_from(cost.trailing_zeros()).unwrap_or(u8::MAX);
        self.made(&hash, Method::Scrypt { log_cost, block_size, lanes }, salt)
    }

    fn made(&self, hash: &Members<'_>, method: Method, salt: Vec<u8>) -> Result<String, Flaw> {
        let (encoding, hash) = (self.encoding()?, hash.bytes(None)?);
        Ok(Digested { method, encoding, salt, hash }.to_text())
    }

    /// None is an empty one.
    fn salt(&self) -> Result<(Vec<u8>, Position), Flaw> {
        if self.member("salt").is_none() {
            return Ok((Vec::new(), Position::Prefix));
        }
        let salt = self.object("salt")?;
        salt.only(&["value", "encoding", "position"], "this algorithm")?;
        let position = salt.text("position")?.map_or(Some(Position::Prefix), Position::parse);
        let position = position.ok_or_else(|| salt.wrong("position", "Expected prefix or suffix"))?;
        Ok((salt.bytes(Some("utf8"))?, position))
    }

    /// How the password became bytes.
    fn encoding(&self) -> Result<Encoding, Flaw> {
        let password = self.object("password")?;
        password.only(&["encoding"], "this algorithm")?;
        let expected = "Expected utf8, utf16le, ucs2, latin1, binary or ascii";
        let encoding = password.text("encoding")?.map_or(Some(Encoding::Utf8), Encoding::parse);
        encoding.ok_or_else(|| password.wrong("encoding", expected))
    }

    /// `value`, decoded by `encoding`. Without a default the encoding must be there, and is no text.
    fn bytes(&self, default: Option<&str>) -> Result<Vec<u8>, Flaw> {
        let value = self.value()?;
        let bytes = match self.text("encoding")?.or(default) {
            Some("utf8") if default.is_some() => Some(value.as_bytes().to_vec()),
            Some("hex") => hex(value),
            Some("base64") => base64(value),
            _ if default.is_some() => return Err(self.wrong("encoding", "Expected utf8, hex or base64")),
            _ => return Err(self.wrong("encoding", "Expected hex or base64")),
        };
        let bytes = bytes.ok_or_else(|| self.wrong("value", "It is not of the encoding"))?;
        if bytes.len() > MAX_SALT {
            return Err(self.wrong("value", &format!("Expected up to {MAX_SALT} bytes")));
        }
        Ok(bytes)
    }

    fn utf8(&self) -> Result<(), Flaw> {
        match self.text("encoding")? {
            None | Some("utf8") => Ok(()),
            Some(_) => Err(self.wrong("encoding", "Only utf8 is supported")),
        }
    }

    fn value(&self) -> Result<&'a str, Flaw> {
        self.text("value")?.ok_or_else(|| self.wrong("value", "Expected type string"))
    }

    fn member(&self, name: &str) -> Option<&'a Value> {
        self.members?.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, Flaw> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| self.wrong(name, "Expected type string"));
        self.member(name).map(text).transpose()
    }

    fn number(&self, name: &str) -> Result<Option<u32>, Flaw> {
        let number = |value: &Value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| self.wrong(name, "Expected type integer"))
        };
        self.member(name).map(number).transpose()
    }

    /// One that is not there is empty.
    fn object(&self, name: &str) -> Result<Members<'a>, Flaw> {
        let place = format!("{}.{name}", self.place);
        match self.member(name) {
            None => Ok(Members { place, members: None }),
            Some(Value::Object(members)) => Ok(Members { place, members: Some(members) }),
            Some(_) => Err(self.wrong(name, "Expected type object")),
        }
    }

    fn only(&self, known: &[&str], algorithm: &str) -> Result<(), Flaw> {
        let mut names = self.members.into_iter().flat_map(Map::keys);
        match names.find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(self.wrong(name, &format!("It does not go with {algorithm}"))),
            None => Ok(()),
        }
    }

    fn wrong(&self, name: &str, text: &str) -> Flaw {
        refused(&format!("{}.{name}", self.place), text)
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
            _ => None,
        })
        .collect()
}

/// Of either alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    STANDARD_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(custom: Value) -> Result<Option<String>, String> {
        take(json!({ "custom_password_hash": custom }).as_object_mut().unwrap())
            .map_err(|Flaw(_, _, member)| member.unwrap())
    }

    fn opens(custom: Value, password: &str) -> bool {
        let hash = read(custom).unwrap().unwrap();
        assert!(imported::is_foreign(&hash));
        let lender = crate::password::argon2id::Lender::new(&argon2::Params::default());
        let right = imported::verify(&lender, password, &hash);
        assert!(!imported::verify(&lender, "secret passwore", &hash));
        right
    }

    #[test]
    fn hashes_of_every_algorithm_open_for_their_passwords() {
        // Made with Python's hashlib and hmac.
        for custom in [
            json!({ "algorithm": "md5", "hash": { "value": "a584efafa8f9ea7fe5cf18442f32b07b", "encoding": "hex" } }),
            json!({ "algorithm": "sha1", "hash": { "value": "D20A09545C7AFF14A4F596DDBA19296D58F6C101", "encoding": "hex" } }),
            json!({
                "algorithm": "sha256", "hash": { "value": "xoYwT2DrONgCF-JeW0BTewGVgHm7mNEhD_yJnr8Xd3Q=", "encoding": "base64" },
                "salt": { "value": "pepper", "position": "suffix" },
            }),
            json!({
                "algorithm": "sha512", "hash": { "value": "PetEvCfkjj0010h7ityT0ChiPCRxDfBfMnt6SYART3aSk2ivpDvUM/3/7JLtJ4e/301CQEQXVwIek+2r4moQmQ==", "encoding": "base64" },
                "salt": { "value": "706570706572", "encoding": "hex", "position": "prefix" },
                "password": { "encoding": "utf16le" },
            }),
            json!({
                "algorithm": "hmac", "salt": { "value": "cGVwcGVy", "encoding": "base64" },
                "hash": {
                    "value": "ca228a6b5609394e6457e7794b431ef72fee33ec18593bcfefe5b6221c0eec4a", "encoding": "hex", "digest": "sha256",
                    "key": { "value": "the key", "encoding": "utf8" },
                },
            }),
            json!({
                "algorithm": "scrypt", "hash": { "value": "qH+UNjdkMV/iGFE9xqXQHtfTKew++r1OohaW+wJegCdO4jyC53oV/c3hA8gwE3lC1MNXy9F68nI+T4Ti6i3RBw==", "encoding": "base64" },
                "salt": { "value": "pepper" }, "keylen": 64, "cost": 1024, "blockSize": 8,
                "parallelization": 2,
            }),
            json!({ "algorithm": "ldap", "hash": { "value": "{SSHA}oz7Fku8SYxRanDJlWSaDjZMPxL5zYWx0" } }),
            json!({ "algorithm": "ldap", "hash": { "value": "{ssha512}prWCkFauUlyn5Qan5WUOE0PnpmhLl6bNeKIUwZZhW+ONv4HJr9r1pNkF4/Rb4S4swshfuGnNj+68yujDyBS933NhbHR5", "encoding": "utf8" } }),
        ] {
            assert!(opens(custom.clone(), "secret password"), "{custom}");
        }
    }

    #[test]
    fn whatever_a_custom_hash_says_beside_itself_is_understood_or_refused() {
        let hash = "$2b$10$JjsyzJfCUOlmu4bxFCVrveg41Ah9mRd6Q6zIhRCVZIwdU1t50dIo2";
        let good = json!({ "algorithm": "bcrypt", "hash": { "value": hash, "encoding": "utf8" } });
        assert_eq!(read(good.clone()).unwrap().as_deref(), Some(hash));
        let digest = json!({
            "algorithm": "sha1", "hash": { "value": "D20A09545C7AFF14A4F596DDBA19296D58F6C101", "encoding": "hex" }, "salt": { "value": "s" },
        });
        let mac = json!({
            "algorithm": "hmac", "hash": {
                "value": "ca228a6b5609394e6457e7794b431ef72fee33ec18593bcfefe5b6221c0eec4a", "encoding": "hex", "digest": "sha256", "key": { "value": "k" },
            },
        });
        let scrypt = json!({
            "algorithm": "scrypt", "hash": { "value": "qH+UNjdkMV/iGFE9xqXQHtfTKew++r1OohaW+wJegCdO4jyC53oV/c3hA8gwE3lC1MNXy9F68nI+T4Ti6i3RBw==", "encoding": "base64" },
            "salt": { "value": "pepper" }, "keylen": 64,
        });
        let ldap =
            json!({ "algorithm": "ldap", "hash": { "value": "{SSHA}oz7Fku8SYxRanDJlWSaDjZMPxL5zYWx0" } });
        for known in [&digest, &mac, &scrypt, &ldap] {
            assert!(read(known.clone()).is_ok(), "{known}");
        }
        for (custom, pointer, value, member) in [
            (&good, "/algorithm", json!("md4"), "algorithm"),
            (&good, "/algorithm", json!(["bcrypt"]), "algorithm"),
            (&good, "/algorithm", json!("argon2"), "hash.value"),
            (&good, "/hash/encoding", json!("hex"), "hash.encoding"),
            (&good, "/hash/digest", json!("sha256"), "hash.digest"),
            (&good, "/hash/value", json!(3), "hash.value"),
            (&good, "/salt", json!({ "value": "pepper" }), "salt"),
            (&good, "/password", json!({ "encoding": "utf16le" }), "password.encoding"),
            (&good, "/password", json!("utf8"), "password"),
            (&good, "/keylen", json!(32), "keylen"),
            (&digest, "/hash/encoding", json!("utf8"), "hash.encoding"),
            (&digest, "/hash/encoding", json!(null), "hash.encoding"),
            (&digest, "/hash/encoding", json!("base64"), "hash.value"),
            (&digest, "/hash/value", json!("abc"), "hash.value"),
            (&digest, "/hash/value", json!("zz"), "hash.value"),
            (&digest, "/algorithm", json!("sha512"), "hash.value"),
            (&digest, "/salt/position", json!("middle"), "salt.position"),
            (&digest, "/salt/encoding", json!("latin1"), "salt.encoding"),
            (&digest, "/salt/value", json!("x".repeat(129)), "salt.value"),
            (&digest, "/salt/rounds", json!(2), "salt.rounds"),
            (&digest, "/password", json!({ "encoding": "ebcdic" }), "password.encoding"),
            (&mac, "/hash/digest", json!("whirlpool"), "hash.digest"),
            (&mac, "/hash/digest", json!(null), "hash.digest"),
            (&mac, "/hash/key", json!(null), "hash.key.value"),
            (&mac, "/hash/key", json!("k"), "hash.key"),
            (&mac, "/hash/key/value", json!(""), "hash.value"),
            (&scrypt, "/keylen", json!(32), "keylen"),
            (&scrypt, "/keylen", json!(null), "keylen"),
            (&scrypt, "/cost", json!(1000), "cost"),
            (&scrypt, "/cost", json!(4_194_304), "hash.value"),
            (&scrypt, "/blockSize", json!("8"), "blockSize"),
            (&scrypt, "/parallelization", json!(1000), "hash.value"),
            (&scrypt, "/salt", json!(null), "salt.value"),
            (&scrypt, "/salt/position", json!("prefix"), "salt.position"),
            (&ldap, "/hash/value", json!("{CRYPT}abcdef"), "hash.value"),
            (&ldap, "/hash/value", json!("{SHA}abcdef"), "hash.value"),
            (&ldap, "/hash/value", json!("SSHA"), "hash.value"),
            (&ldap, "/hash/encoding", json!("base64"), "hash.encoding"),
            (&ldap, "/salt", json!({ "value": "pepper" }), "salt"),
        ] {
            let mut custom = custom.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            custom.pointer_mut(parent).unwrap()[name] = value.clone();
            let told = read(custom).unwrap_err();
            assert_eq!(told, format!("custom_password_hash.{member}"), "{pointer} {value}");
        }
    }
}
