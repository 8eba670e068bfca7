//! Forged and malformed tokens: rows J01 to J12, J19 to J27 and J33 of the threat catalogue, as far as a library
//! decides them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod forge;

use forge::*;
use jose::{Alg, CompactJws, JoseError, MAX_TOKEN_BYTES, SigningKey, parse_json};
use serde_json::{Value, json};

#[test]
fn what_is_honestly_signed_is_accepted() {
    for key in [&RSA, &EC, &ED] {
        assert_eq!(verdict(&key.sign(Some("JWT"), CLAIMS).unwrap()).unwrap(), CLAIMS);
    }
}

#[test]
fn j01_alg_none_is_refused() {
    let spellings = [
        r#""none""#,
        r#""None""#,
        r#""NONE""#,
        r#""nOnE""#,
        r#""none ""#,
        "null",
        r#"["none"]"#,
        "0",
        "true",
    ];
    for alg in spellings {
        for signature in [&b""[..], b"x"] {
            let forged = token(&format!(r#"{{"alg":{alg}}}"#), CLAIMS, signature);
            assert!(is_refused(&forged), "{alg}");
        }
    }
    assert!(is_refused(&token(r#"{"typ":"JWT"}"#, CLAIMS, b"x")));
}

#[test]
fn j02_a_stripped_signature_is_refused() {
    let good = RSA.sign(None, CLAIMS).unwrap();
    let [header, payload, signature] = parts(&good);
    for stripped in [
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        "..".to_owned(),
        String::new(),
        format!("{good}."),
        format!(".{good}"),
    ] {
        assert!(is_refused(&stripped), "{stripped}");
    }
}

#[test]
fn j03_a_signature_of_zeros_is_refused() {
    for (alg, kid, length) in [
        ("RS256", "rsa", 256),
        ("RS384", "rsa", 256),
        ("RS512", "rsa", 256),
        ("PS256", "rsa", 256),
        ("PS384", "rsa", 256),
        ("PS512", "rsa", 256),
        ("ES256", "ec", 64),
        ("EdDSA", "ed", 64),
        ("HS256", "rsa", 32),
    ] {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        assert!(is_refused(&token(&header, CLAIMS, &vec![0; length])), "{alg}");
    }
}

#[test]
fn j04_an_rsa_public_key_is_no_hmac_secret() {
    let pem = rsa_pem();
    let jwk = rsa_jwk();
    let secrets: [Vec<u8>; 7] = [
        pem.clone().into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        format!("\n{pem}").into_bytes(),
        rsa_der(),
        jwk.to_string().into_bytes(),
        unb64(jwk["n"].as_str().unwrap()),
        jwk["n"].as_str().unwrap().as_bytes().to_vec(),
    ];
    for alg in ["HS256", "HS384", "HS512"] {
        for secret in &secrets {
            assert!(is_refused(&mac_token(alg, "rsa", secret)));
        }
    }
    for secret in &secrets[..3] {
        assert!(
            jose::VerifyingKey::from_hmac_secret(secret, Alg::HS256).is_err(),
            "a PEM block became a secret"
        );
    }
}

#[test]
fn j05_an_ec_public_key_is_no_hmac_secret() {
    let point = ec_point();
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    for secret in [point.clone(), compressed, ec_pem().into_bytes()] {
        for alg in ["HS256", "HS512"] {
            assert!(is_refused(&mac_token(alg, "ec", &secret)));
        }
    }
}

#[test]
fn j06_an_empty_hmac_key_is_refused() {
    assert!(is_refused(&mac_token("HS256", "rsa", b"")));
    assert!(is_refused(&mac_token("HS256", "nobody", b"")));
}

/// A token signed by a stranger, with these further header members and the kid of an honest key.
fn stranger(alg: Alg, kid: &str, extra: Value) -> String {
    let key = SigningKey::generate(alg, kid.to_owned()).unwrap();
    let mut extra = extra.as_object().unwrap().clone();
    if extra.get("jwk").is_some_and(Value::is_null) {
        extra.insert("jwk".to_owned(), key.public_jwk());
    }
    key.sign_with_header(&extra, CLAIMS).unwrap()
}

#[test]
fn j07_a_key_inside_the_token_is_never_used() {
    for (alg, kid) in [(Alg::RS256, "rsa"), (Alg::ES256, "ec"), (Alg::EdDSA, "ed")] {
        assert_eq!(verdict(&stranger(alg, kid, json!({"jwk": null}))).unwrap_err(), JoseError::Signature);
    }
    let secret = b"0123456789abcdef0123456789abcdef";
    let forged = SigningKey::from_hmac_secret(Alg::HS256, "rsa".into(), secret).unwrap();
    let extra = json!({"jwk": {"kty": "oct", "k": b64(secret)}});
    assert!(is_refused(&forged.sign_with_header(extra.as_object().unwrap(), CLAIMS).unwrap()));
}

#[test]
fn j08_j09_links_and_certificates_in_the_token_are_never_followed() {
    for extra in [
        json!({"jku": "https://evil.example/jwks.json"}),
        json!({"jku": "https://idp.example/redirect?to=https://evil.example"}),
        json!({"jku": "https://idp.example@evil.example/jwks"}),
        json!({"jku": "file:///etc/passwd"}),
        json!({"jku": "data:application/json,{}"}),
        json!({"x5u": "https://evil.example/cert.pem"}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5t": "ec", "x5t#S256": "ec"}),
    ] {
        assert_eq!(verdict(&stranger(Alg::ES256, "ec", extra)).unwrap_err(), JoseError::Signature);
    }
}

#[test]
fn j10_a_kid_is_a_name_and_nothing_else() {
    for kid in
        ["../../../dev/null", "/dev/null", "' UNION SELECT '1", "|sleep 10", "\\u0065c ", "EC", "ec/../ec"]
    {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        assert_eq!(verdict(&token(&header, CLAIMS, &[1; 64])).unwrap_err(), JoseError::UnknownKid, "{kid}");
    }
    let long = format!(r#""{}""#, "k".repeat(1000));
    for kid in [r#""a\r\nb""#, r#""a\u0000b""#, r#""""#, "1", r#"["ec"]"#, r#"{"a":"ec"}"#, "null", &long] {
        let header = format!(r#"{{"alg":"ES256","kid":{kid}}}"#);
        let forged = token(&header, CLAIMS, &[1; 64]);
        let refused = CompactJws::parse(&forged).unwrap_err();
        assert!(matches!(refused, JoseError::Header(_) | JoseError::Json(_)), "{kid}: {refused}");
    }
}

#[test]
fn j11_psychic_signatures_are_refused() {
    let orders = [
        (Alg::ES256, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
        (
            Alg::ES384,
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        ),
        (
            Alg::ES512,
            "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
        ),
    ];
    for (alg, order) in orders {
        let key = SigningKey::generate(alg, "k".into()).unwrap().verifying_key();
        let n: Vec<u8> =
            (0..order.len()).step_by(2).map(|i| u8::from_str_radix(&order[i..i + 2], 16).unwrap()).collect();
        let zero = vec![0; n.len()];
        let mut one = zero.clone();
        *one.last_mut().unwrap() = 1;
        let mut below = n.clone();
        *below.last_mut().unwrap() -= 1;
        for (r, s) in [(&zero, &zero), (&zero, &one), (&one, &zero), (&n, &n), (&below, &zero), (&n, &one)] {
            let header = json!({"alg": alg.as_str()}).to_string();
            let forged = token(&header, CLAIMS, &[r.as_slice(), s.as_slice()].concat());
            assert_eq!(CompactJws::parse(&forged).unwrap().verify(&key).unwrap_err(), JoseError::Signature);
        }
    }
}

#[test]
fn j12_a_signature_has_one_encoding() {
    let good = EC.sign(None, CLAIMS).unwrap();
    let [header, payload, signature] = parts(&good);
    let raw = unb64(signature);
    let (r, s) = raw.split_at(32);
    let integer = |number: &[u8]| {
        let sign: &[u8] = if number[0] & 0x80 == 0 { &[] } else { &[0] };
        [&[2, (number.len() + sign.len()) as u8], sign, number].concat()
    };
    let body = [integer(r), integer(s)].concat();
    let der = [&[0x30, body.len() as u8], body.as_slice()].concat();
    let others = [
        der,
        raw[..63].to_vec(),
        raw[1..].to_vec(),
        [raw.as_slice(), &[0]].concat(),
        [&[0], raw.as_slice()].concat(),
        [&[0], r, &[0], s].concat(),
        [r, s, r, s].concat(),
        [s, r].concat(),
    ];
    for other in others {
        assert!(is_refused(&format!("{header}.{payload}.{}", b64(other))));
    }
    let rsa = RSA.sign(None, CLAIMS).unwrap();
    let [header, payload, signature] = parts(&rsa);
    for other in [[&[0], unb64(signature).as_slice()].concat(), [unb64(signature).as_slice(), &[0]].concat()]
    {
        assert!(is_refused(&format!("{header}.{payload}.{}", b64(other))));
    }
}

#[test]
fn j19_critical_extensions_are_refused() {
    let key = SigningKey::generate(Alg::EdDSA, "ed".into()).unwrap();
    let mut extra = serde_json::Map::new();
    extra.insert("crit".to_owned(), json!(["exp"]));
    assert!(key.sign_with_header(&extra, CLAIMS).is_err(), "such tokens are not made either");
    for crit in [r#"["x-new"]"#, "[]", r#""exp""#, "null", "{}", r#"["alg"]"#, r#"["b64"]"#, r#"["x","x"]"#] {
        let forged =
            token(&format!(r#"{{"alg":"EdDSA","kid":"ed","crit":{crit},"x-new":1}}"#), CLAIMS, &[1; 64]);
        assert_eq!(CompactJws::parse(&forged).unwrap_err(), JoseError::Critical, "{crit}");
    }
}

#[test]
fn j20_unencoded_payloads_are_refused() {
    for header in [r#"{"alg":"EdDSA","b64":false}"#, r#"{"alg":"EdDSA","b64":false,"crit":["b64"]}"#] {
        assert!(CompactJws::parse(&token(header, CLAIMS, &[1; 64])).is_err());
    }
}

#[test]
fn j21_a_member_that_is_there_twice_is_refused() {
    for header in [
        r#"{"alg":"none","alg":"RS256"}"#,
        r#"{"alg":"RS256","kid":"a","kid":"rsa"}"#,
        r#"{"alg":"RS256","x":1,"x":1}"#,
        r#"{"alg":"RS256","\u0061lg":"none"}"#,
        r#"{"alg":"RS256","x":1,"\u0078":1}"#,
        r#"{"alg":"RS256","jwk":{"kty":"oct","kty":"RSA"}}"#,
    ] {
        let refused = CompactJws::parse(&token(header, CLAIMS, b"x")).unwrap_err();
        assert!(matches!(refused, JoseError::Json(_)), "{header}: {refused}");
    }
    for claims in [
        r#"{"sub":"a","sub":"b"}"#,
        r#"{"aud":"a","aud":["b"]}"#,
        r#"{"exp":1,"exp":2}"#,
        r#"{"scope":"a","scope":"a"}"#,
        r#"{"sub":"a","\u0073ub":"b"}"#,
        r#"{"act":{"sub":"a","sub":"b"}}"#,
        r#"{"list":[{"a":1,"a":2}]}"#,
    ] {
        assert!(parse_json(claims.as_bytes(), 8).is_err(), "{claims}");
    }
}

#[test]
fn j22_json_bombs_are_refused() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(parse_json(deep.as_bytes(), 8).is_err());
    assert!(parse_json(deep.as_bytes(), usize::MAX).is_err(), "the reader's own limit holds");
    assert!(parse_json(b"[[1]]", 1).is_err());
    assert!(parse_json(b"[[1]]", 2).is_ok());
    assert!(parse_json(b"1", 0).is_ok());
    assert!(parse_json("9".repeat(1_000_000).as_bytes(), 8).is_err());
    assert!(parse_json(b"1e400", 8).is_err());
    let members: String = (0..100).map(|i| format!(r#","m{i}":1"#)).collect();
    let header = format!(r#"{{"alg":"RS256"{members}}}"#);
    let refused = CompactJws::parse(&token(&header, CLAIMS, b"x")).unwrap_err();
    assert!(matches!(refused, JoseError::Header(_)), "{refused}");
    let nested = format!(r#"{{"alg":"RS256","x":{}1{}}}"#, "[".repeat(20), "]".repeat(20));
    assert!(CompactJws::parse(&token(&nested, CLAIMS, b"x")).is_err());
}

#[test]
fn j23_a_token_that_is_too_long_is_refused_unread() {
    let exact = RSA.sign(None, &vec![b'x'; 5000]).unwrap();
    assert!(exact.len() < MAX_TOKEN_BYTES && CompactJws::parse(&exact).is_ok());
    for long in ["?".repeat(MAX_TOKEN_BYTES + 1), ".".repeat(1_000_000), "a".repeat(64 * 1024)] {
        assert_eq!(CompactJws::parse(&long).unwrap_err(), JoseError::TooLong(MAX_TOKEN_BYTES));
    }
}

#[test]
fn j24_a_header_is_one_strict_json_object() {
    let good = br#"{"alg":"RS256"}"#;
    assert!(CompactJws::parse(&format!("{}.{}.{}", b64(good), b64(CLAIMS), b64("x"))).is_ok());
    let bad: [&[u8]; 10] = [
        b"\xef\xbb\xbf{\"alg\":\"RS256\"}",
        br#"{"alg":"RS256"}x"#,
        br#"{"alg":"RS256"}{}"#,
        b"{\"alg\":\"RS256\"}\0",
        b"{\"alg\":\"RS256\",\"x\":\"\xff\"}",
        br#"{"alg":"RS256","x":"\ud800"}"#,
        br#"[{"alg":"RS256"}]"#,
        br#""RS256""#,
        br#"{"alg":"RS256",}"#,
        b"",
    ];
    for header in bad {
        assert!(CompactJws::parse(&format!("{}.{}.{}", b64(header), b64(CLAIMS), b64("x"))).is_err());
        assert!(parse_json(header, 8).is_err() || header.starts_with(b"[") || header.starts_with(b"\""));
    }
    assert!(parse_json(br#"{"sub":"a\u0000b"}"#, 8).is_err(), "a NUL");
    assert!(parse_json(br#"{"a\u0000":1}"#, 8).is_err(), "a NUL in a name");
}

#[test]
fn j25_every_part_is_strict_base64url() {
    let good = EC.sign(None, b"{\"sub\":\"alice1\"}").unwrap();
    let [header, payload, signature] = parts(&good);
    assert!(!is_refused(&good));
    let spoil: [fn(&str) -> String; 8] = [
        |part| format!("{part}="),
        |part| format!("{part}=="),
        |part| format!("+{}", &part[1..]),
        |part| format!("/{}", &part[1..]),
        |part| format!(" {part}"),
        |part| format!("{part}\n"),
        |part| format!("{}?{}", &part[..4], &part[4..]),
        |part| format!("{part}A"),
    ];
    for spoil in spoil {
        assert!(is_refused(&format!("{}.{payload}.{signature}", spoil(header))));
        assert!(is_refused(&format!("{header}.{}.{signature}", spoil(payload))));
        assert!(is_refused(&format!("{header}.{payload}.{}", spoil(signature))));
    }
    // 64 bytes leave four spare bits in the last character.
    let last = signature.chars().last().unwrap();
    let next = char::from(last as u8 + 1);
    let spare = format!("{header}.{payload}.{}{next}", &signature[..signature.len() - 1]);
    assert_eq!(CompactJws::parse(&spare).unwrap_err(), JoseError::Base64("signature"));
}

#[test]
fn j26_other_serialisations_are_refused() {
    let good = RSA.sign(None, CLAIMS).unwrap();
    let [header, payload, signature] = parts(&good);
    for other in [
        format!("{header}.{payload}.{signature}.{payload}.{signature}"),
        json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
        json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]})
            .to_string(),
        json!({"payload": payload, "signatures": [
            {"protected": header, "signature": signature},
            {"protected": header, "signature": "AAAA"}
        ]})
        .to_string(),
    ] {
        assert!(is_refused(&other));
    }
}

#[test]
fn j27_numbers_beyond_any_date_are_refused() {
    for claims in [r#"{"exp":1e300}"#, r#"{"exp":-1e300}"#, r#"{"exp":99999999999999999999}"#] {
        assert!(parse_json(claims.as_bytes(), 8).is_err(), "{claims}");
    }
    assert_eq!(parse_json(br#"{"exp":1.5}"#, 8).unwrap()["exp"], 1.5);
}

#[test]
fn j33_types_compare_as_media_types() {
    let is_access_token = |typ: Option<&str>| {
        let token = ED.sign(typ, CLAIMS).unwrap();
        CompactJws::parse(&token).unwrap().header().has_typ("at+jwt")
    };
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert!(is_access_token(Some(typ)), "{typ}");
    }
    for typ in [Some("JWT"), None, Some("at+jwtx"), Some("application/"), Some("x/at+jwt"), Some("")] {
        assert!(!is_access_token(typ), "{typ:?}");
    }
}

#[test]
fn nothing_of_a_token_is_in_an_error_or_in_debug_output() {
    let secret = RSA.sign(None, b"canary").unwrap();
    let shown = format!("{:?}", CompactJws::parse(&secret).unwrap());
    assert!(!shown.contains(parts(&secret)[2]) && !shown.contains(parts(&secret)[1]), "{shown}");
    let refused = CompactJws::parse("canary.canary.canary").unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains("canary"));
}
