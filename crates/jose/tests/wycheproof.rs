//! Google's Wycheproof vectors for JOSE, through the functions behind `portcullis jose`. Every verdict must be the
//! label's, but for the departures listed here, each with its reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::Value;

/// A vector on which we and its label differ.
struct Departure {
    ids: &'static [u64],
    reason: &'static str,
}

const SIGNATURE_DEPARTURES: &[Departure] = &[
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
];

const ENCRYPTION_DEPARTURES: &[Departure] = &[
    Departure { ids: &[60, 61, 70], reason: "AES-192 key wrap is not offered by aws-lc-rs" },
    Departure {
        ids: &[100, 101, 102, 103, 104, 105, 112, 128],
        reason: "RSA1_5 is not implemented: its padding is an oracle (RFC 8725 section 3.2)",
    },
    Departure { ids: &[135], reason: "compressed plaintext is not implemented: the sender chooses its size" },
];

#[test]
fn signatures_are_judged_as_wycheproof_labels_them() {
    let vectors = include_str!("vectors/json_web_signature_test.json");
    check(vectors, 401, SIGNATURE_DEPARTURES);
}

#[test]
fn j15_j18_keys_are_judged_as_wycheproof_labels_them() {
    check(include_str!("vectors/json_web_key_test.json"), 26, &[]);
}

#[test]
fn encryption_is_judged_as_wycheproof_labels_it() {
    let vectors = include_str!("vectors/json_web_encryption_test.json");
    check(vectors, 139, ENCRYPTION_DEPARTURES);
}

#[test]
fn both_are_judged_as_wycheproof_labels_them() {
    check(include_str!("vectors/json_web_crypto_test.json"), 83, &[]);
}

fn check(vectors: &str, count: usize, departures: &[Departure]) {
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for group in vectors["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            seen += 1;
            let id = test["tcId"].as_u64().unwrap();
            let departure = departures.iter().find(|departure| departure.ids.contains(&id));
            let labelled = test["result"] == "valid";
            let expected = labelled != departure.is_some();
            let verdict = judge(group, test);
            if verdict.is_ok() != expected {
                let note = departure.map_or("", |departure| departure.reason);
                wrong
                    .push(format!("{id} {} (label {}): {verdict:?} {note}", test["comment"], test["result"]));
            }
            if let (Ok(plain), Some(expected)) = (verdict, test["pt"].as_str()) {
                assert_eq!(hex(&plain), expected, "plaintext of {id}");
            }
        }
    }
    assert_eq!(seen, count);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn judge(group: &Value, test: &Value) -> Result<Vec<u8>, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(jwe) = test.get("jwe") {
        let key = group["private"].to_string();
        return jose::cli::decrypt(key.as_bytes(), None, None, &text(jwe));
    }
    let private = group["private"].to_string();
    let token = text(&test["jws"]);
    let by_private = jose::cli::verify(private.as_bytes(), None, &token);
    let Some(public) = group.get("public") else { return by_private };
    let by_public = jose::cli::verify(public.to_string().as_bytes(), None, &token);
    // Vector 349's private key has the one key operation "sign, verify", which is none.
    if test["tcId"] != 349 {
        assert_eq!(by_public.is_ok(), by_private.is_ok(), "{}", test["tcId"]);
    }
    by_public
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
