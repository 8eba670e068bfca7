//! Google's Wycheproof vectors for JOSE, through the functions behind `portcullis jose`. Every verdict must be the
//! label's, but for the departures that the policy lists, each with its reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod policy;

use policy::{Vector, WYCHEPROOF, Wycheproof};

#[test]
fn signatures_are_judged_as_wycheproof_labels_them() {
    check(&WYCHEPROOF[0]);
}

#[test]
fn j15_j18_keys_are_judged_as_wycheproof_labels_them() {
    check(&WYCHEPROOF[1]);
}

#[test]
fn encryption_is_judged_as_wycheproof_labels_it() {
    check(&WYCHEPROOF[2]);
}

#[test]
fn both_are_judged_as_wycheproof_labels_them() {
    check(&WYCHEPROOF[3]);
}

fn check(file: &Wycheproof) {
    let vectors = file.vectors();
    assert_eq!(vectors.len(), file.count);
    let mut wrong = Vec::new();
    for vector in vectors {
        let verdict = judge(&vector);
        if verdict.is_ok() != vector.is_good {
            wrong.push(format!("{} {}: {verdict:?}", vector.id, vector.comment));
        }
        if let (Ok(plain), Some(expected)) = (verdict, vector.plain) {
            assert_eq!(hex(&plain), expected, "plaintext of {}", vector.id);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn judge(vector: &Vector) -> Result<Vec<u8>, String> {
    let private = vector.private.to_string();
    if vector.is_encrypted {
        return jose::cli::decrypt(private.as_bytes(), None, None, &vector.token);
    }
    let by_private = jose::cli::verify(private.as_bytes(), None, &vector.token);
    let Some(public) = &vector.public else { return by_private };
    let by_public = jose::cli::verify(public.to_string().as_bytes(), None, &vector.token);
    // Vector 349's private key has the one key operation "sign, verify", which is none.
    if vector.id != 349 {
        assert_eq!(by_public.is_ok(), by_private.is_ok(), "{}", vector.id);
    }
    by_public
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
