//! The vectors of others, and the written policy: where our verdict is not their label's, and why. The library's tests
//! and those of the binary read both from here; `docs/jose.md` shows the policy.
// Every test file takes what it needs.
#![allow(dead_code)]

use serde_json::Value;

/// A vector on which we and its label differ.
pub(crate) struct Departure {
    /// The numbers of the vectors.
    pub(crate) ids: &'static [u64],
    /// Why.
    pub(crate) reason: &'static str,
}

/// One file of Google's Wycheproof.
pub(crate) struct Wycheproof {
    /// Its name.
    pub(crate) name: &'static str,
    text: &'static str,
    /// How many vectors it has.
    pub(crate) count: usize,
    /// Those that are judged otherwise than labelled.
    pub(crate) departures: &'static [Departure],
}

/// The four files.
pub(crate) const WYCHEPROOF: [Wycheproof; 4] = [
    Wycheproof {
        name: "json_web_signature_test.json",
        text: include_str!("../vectors/json_web_signature_test.json"),
        count: 401,
        departures: &[
            Departure {
                ids: &[346, 350],
                reason: "RFC 7520 figure 20: the token says PS384 and the vector's JWK pins PS256; a key's alg is its only one",
            },
            Departure {
                ids: &[347, 351],
                reason: "RFC 7520 figure 27: the vector's JWK pins ES521, which is no algorithm",
            },
            Departure {
                ids: &[367, 370],
                reason: "labelled as badly padded, but byte for byte the valid vector 357: the padding was lost in the file",
            },
            Departure {
                ids: &[372, 373],
                reason: "a `?` inside base64url is labelled valid; RFC 7515 section 2 has no such character",
            },
        ],
    },
    Wycheproof {
        name: "json_web_key_test.json",
        text: include_str!("../vectors/json_web_key_test.json"),
        count: 26,
        departures: &[],
    },
    Wycheproof {
        name: "json_web_encryption_test.json",
        text: include_str!("../vectors/json_web_encryption_test.json"),
        count: 139,
        departures: &[
            Departure { ids: &[60, 61, 70], reason: "AES-192 key wrap is not offered by aws-lc-rs" },
            Departure {
                ids: &[100, 101, 102, 103, 104, 105, 112, 128],
                reason: "RSA1_5 is not implemented: its padding is an oracle (RFC 8725 section 3.2)",
            },
            Departure {
                ids: &[135],
                reason: "compressed plaintext is not implemented: the sender chooses its size",
            },
        ],
    },
    Wycheproof {
        name: "json_web_crypto_test.json",
        text: include_str!("../vectors/json_web_crypto_test.json"),
        count: 83,
        departures: &[],
    },
];

/// One vector, ready to be judged.
#[derive(Debug)]
pub(crate) struct Vector {
    /// Its number in the file.
    pub(crate) id: u64,
    /// What it says it is, and its label.
    pub(crate) comment: String,
    /// Whether it must be accepted by the policy.
    pub(crate) is_good: bool,
    /// Whether it is to be decrypted rather than verified.
    pub(crate) is_encrypted: bool,
    /// The private or shared key.
    pub(crate) private: Value,
    /// The public half, where the file has one.
    pub(crate) public: Option<Value>,
    /// The token; some are no compact serialisation.
    pub(crate) token: String,
    /// What it must decrypt to, in hexadecimal.
    pub(crate) plain: Option<String>,
}

impl Wycheproof {
    /// All vectors of the file.
    pub(crate) fn vectors(&self) -> Vec<Vector> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let file: Value = serde_json::from_str(self.text).unwrap();
        let groups = file["testGroups"].as_array().unwrap();
        let vectors = groups.iter().flat_map(|group| {
            group["tests"].as_array().unwrap().iter().map(move |test| {
                let id = test["tcId"].as_u64().unwrap();
                let departs = self.departures.iter().any(|departure| departure.ids.contains(&id));
                Vector {
                    id,
                    comment: format!("{} ({})", test["comment"], test["result"]),
                    is_good: (test["result"] == "valid") != departs,
                    is_encrypted: test.get("jwe").is_some(),
                    private: group["private"].clone(),
                    public: group.get("public").cloned(),
                    token: text(test.get("jwe").unwrap_or(&test["jws"])),
                    plain: test["pt"].as_str().map(str::to_owned),
                }
            })
        });
        vectors.collect()
    }
}

/// An example of an RFC.
pub(crate) struct Example {
    /// The RFC, and the section.
    pub(crate) name: String,
    /// Whether it is to be decrypted rather than verified.
    pub(crate) is_encrypted: bool,
    /// A JWK or a JWKS.
    pub(crate) key: Value,
    /// The token, or its JSON serialisation.
    pub(crate) token: String,
    /// The payload, or what the reason of the refusal says.
    pub(crate) expected: Result<Vec<u8>, String>,
}

/// The examples of RFC 7515 appendix A, 7516 appendix A, 7517 appendix C, 7520 sections 4 and 5, and 8037 appendix A, and
/// one token of RFC 8812.
pub(crate) fn examples() -> Vec<Example> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let file: Value = serde_json::from_str(include_str!("../vectors/rfc_examples.json")).unwrap();
    let text = |example: &Value, name: &str| example[name].as_str().unwrap().to_owned();
    let example = |example: &Value| Example {
        name: text(example, "example"),
        is_encrypted: example["kind"] == "jwe",
        key: example["key"].clone(),
        token: text(example, "token"),
        expected: match example.get("refused") {
            None => Ok(URL_SAFE_NO_PAD.decode(text(example, "payload")).unwrap()),
            Some(_) => Err(text(example, "refused")),
        },
    };
    file.as_array().unwrap().iter().map(example).collect()
}

/// The policy as `docs/jose.md` shows it: a table of what is judged otherwise than labelled.
pub(crate) fn policy_table() -> String {
    let mut table = "| file | vectors | why |\n|---|---|---|\n".to_owned();
    for file in &WYCHEPROOF {
        for departure in file.departures {
            let ids: Vec<String> = departure.ids.iter().map(u64::to_string).collect();
            table.push_str(&format!("| {} | {} | {} |\n", file.name, ids.join(", "), departure.reason));
        }
    }
    table
}

/// The examples as `docs/jose.md` shows them.
pub(crate) fn example_table() -> String {
    let mut table = "| example | result |\n|---|---|\n".to_owned();
    for example in examples() {
        let result = match example.expected {
            Ok(_) if example.is_encrypted => "decrypted".to_owned(),
            Ok(_) => "verified".to_owned(),
            Err(reason) => format!("refused: {reason}"),
        };
        table.push_str(&format!("| {} | {result} |\n", example.name));
    }
    table
}
