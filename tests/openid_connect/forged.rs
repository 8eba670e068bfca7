//! Forged and malformed tokens, rows J01 to J34 of the threat catalogue, at the door of the built binary: each is refused
//! by RFC 6750, reaches no upstream, and costs the provider nothing. What the library says of the same tokens is in
//! `crates/jose/tests`.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use jose::{Alg, SigningKey};
use serde_json::{Map, Value, json};

use super::{CLIENT, guarded, unique};
use crate::support::{Answer, Provider, Request, Site, Upstream, shared, tokens};

#[path = "forged/claims.rs"]
mod claims;
#[path = "../../crates/jose/tests/forge/mod.rs"]
mod forge;
use forge::*;

/// A route that takes RSA, EC and Ed25519 keys, none of which says its algorithm where that could be left out.
struct Door {
    site: Site,
    provider: Provider,
    failures: Vec<String>,
}

impl Door {
    async fn open(further: Value) -> Self {
        let provider = Provider::start(CLIENT);
        let keys = json!({"keys": [rsa_jwk(), EC.public_jwk(), ED.public_jwk()]});
        provider.lie("/jwks", move |_| Answer::json(&keys));
        let mut conf = json!({"bearer_only": true, "use_jwks": true});
        conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let site = guarded(shared(), &provider, conf).await;
        Self { site, provider, failures: Vec::new() }
    }

    /// Claims that are good.
    fn claims(&self) -> Value {
        let now = tokens::now();
        json!({"iss": self.provider.issuer(), "sub": "alice", "aud": self.provider.audience(), "iat": now,
               "exp": now + 600})
    }

    fn payload(&self) -> Vec<u8> {
        self.claims().to_string().into_bytes()
    }

    /// Good claims but for these; a null takes one away.
    fn with(&self, changes: Value) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        EC.sign(Some("JWT"), claims.to_string().as_bytes()).unwrap()
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name).unwrap();
        EC.sign(Some("JWT"), claims.to_string().as_bytes()).unwrap()
    }

    /// A payload as text, which the key of the provider signs whatever it is.
    fn raw(&self, payload: &str) -> String {
        EC.sign(Some("JWT"), payload.as_bytes()).unwrap()
    }

    /// Tries one token, and notes what went wrong.
    async fn refuses(&mut self, what: impl std::fmt::Display, token: &str) {
        let begun = Instant::now();
        let answer = self.site.with_token(token).await;
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        let as_said =
            answer.status == 401 && challenge.starts_with(r#"Bearer realm="apisix", error="invalid_token""#);
        // Too long for a header is told by the codec.
        let too_long = answer.status == 431 && token.len() > 8192;
        // What no header can hold is a 400.
        let unreadable =
            matches!(answer.status, 400 | 401) && !token.bytes().all(|byte| byte.is_ascii_graphic());
        if !(as_said || too_long || unreadable) {
            self.failures.push(format!("{what}: {} {challenge}", answer.status));
        }
        if answer.text().contains("alice") || begun.elapsed() > Duration::from_secs(10) {
            self.failures.push(format!("{what}: the answer tells too much or comes too late"));
        }
    }

    async fn takes(&mut self, what: impl std::fmt::Display, token: &str) {
        let answer = self.site.with_token(token).await;
        if answer.status != 200 {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            self.failures.push(format!("{what}: {} {challenge}", answer.status));
        }
    }

    /// Fails the test if anything went wrong, or if a good token is no longer taken.
    async fn close(mut self, taken: usize) {
        let reached = self.site.reached();
        if reached != taken {
            self.failures.push(format!("{reached} requests reached the upstream in place of {taken}"));
        }
        let good = EC.sign(Some("at+jwt"), &self.payload()).unwrap();
        self.takes("a good token", &good).await;
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n"));
        let fetched = self.provider.hits("/jwks").len();
        assert!(fetched <= 2, "the keys were fetched {fetched} times");
    }
}

/// A token with a MAC over these claims.
fn mac(alg: &str, kid: &str, secret: &[u8], payload: &[u8]) -> String {
    let hash = match alg {
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let input = format!("{}.{}", b64(json!({"alg": alg, "kid": kid}).to_string()), b64(payload));
    let mac = hmac::sign(&hmac::Key::new(hash, secret), input.as_bytes());
    format!("{input}.{}", b64(mac))
}

#[tokio::test]
async fn j01_j02_j03_no_token_gets_in_without_a_signature() {
    let mut door = Door::open(json!({})).await;
    let payload = door.payload();
    for alg in
        [r#""none""#, r#""None""#, r#""NONE""#, r#""nOnE""#, r#""none ""#, "null", r#"["none"]"#, "0", "true"]
    {
        for signature in [&b""[..], b"x"] {
            door.refuses(alg, &token(&format!(r#"{{"alg":{alg}}}"#), &payload, signature)).await;
        }
    }
    door.refuses("no alg", &token(r#"{"typ":"JWT"}"#, &payload, b"x")).await;
    let good = RSA.sign(None, &payload).unwrap();
    let [header, body, signature] = parts(&good);
    for stripped in [
        format!("{header}.{body}."),
        format!("{header}.{body}"),
        format!("{header}..{signature}"),
        format!(".{body}.{signature}"),
        "..".to_owned(),
    ] {
        door.refuses(&stripped, &stripped).await;
    }
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
        door.refuses(alg, &token(&header, &payload, &vec![0; length])).await;
    }
    door.close(0).await;
}

#[tokio::test]
async fn j04_j05_j06_no_public_key_serves_as_a_secret() {
    let mut door = Door::open(json!({})).await;
    let payload = door.payload();
    let (pem, jwk, point) = (rsa_pem(), rsa_jwk(), ec_point());
    let rsa: [Vec<u8>; 7] = [
        pem.clone().into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        format!(" {pem}").into_bytes(),
        rsa_der(),
        jwk.to_string().into_bytes(),
        unb64(jwk["n"].as_str().unwrap()),
        b64(rsa_der()).into_bytes(),
    ];
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    let ec = [point, compressed, ec_pem().into_bytes()];
    for alg in ["HS256", "HS384", "HS512"] {
        for (place, secret) in rsa.iter().enumerate() {
            door.refuses(format!("{alg} {place}"), &mac(alg, "rsa", secret, &payload)).await;
        }
    }
    for alg in ["HS256", "HS512"] {
        for (place, secret) in ec.iter().enumerate() {
            door.refuses(format!("{alg} {place}"), &mac(alg, "ec", secret, &payload)).await;
        }
    }
    for kid in ["rsa", "nobody"] {
        door.refuses("an empty key", &mac("HS256", kid, b"", &payload)).await;
    }
    door.close(0).await;
}

#[tokio::test]
async fn j07_j08_j09_j10_what_a_token_says_of_its_key_is_not_followed() {
    let trap = Upstream::start();
    let mut door = Door::open(json!({})).await;
    let payload = door.payload();
    let strange = |alg: Alg, kid: &str, mut extra: Map<String, Value>| {
        let key = SigningKey::generate(alg, kid.to_owned()).unwrap();
        if extra.get("jwk").is_some_and(Value::is_null) {
            extra.insert("jwk".to_owned(), key.public_jwk());
        }
        key.sign_with_header(&extra, &payload).unwrap()
    };
    let members = |extra: Value| extra.as_object().unwrap().clone();
    for (alg, kid) in [(Alg::RS256, "rsa"), (Alg::ES256, "ec"), (Alg::EdDSA, "ed")] {
        door.refuses("an embedded key", &strange(alg, kid, members(json!({"jwk": null})))).await;
    }
    let secret = b"0123456789abcdef0123456789abcdef";
    let oct = SigningKey::from_hmac_secret(Alg::HS256, "rsa".to_owned(), secret).unwrap();
    let extra = members(json!({"jwk": {"kty": "oct", "k": b64(secret)}}));
    door.refuses("an embedded secret", &oct.sign_with_header(&extra, &payload).unwrap()).await;
    let host = format!("http://127.0.0.1:{}", trap.port());
    for extra in [
        json!({"jku": format!("{host}/jwks")}),
        json!({"jku": format!("{}redirect?to={host}", door.provider.issuer())}),
        json!({"jku": format!("http://idp@127.0.0.1:{}/", trap.port())}),
        json!({"jku": "file:///etc/passwd"}),
        json!({"jku": "data:application/json,{}"}),
        json!({"x5u": format!("{host}/cert.pem")}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5t": "ec", "x5t#S256": "ec"}),
    ] {
        door.refuses(&extra, &strange(Alg::ES256, "ec", members(extra.clone()))).await;
    }
    let long = format!(r#""{}""#, "k".repeat(4000));
    for kid in [
        r#""../../../dev/null""#,
        r#""/dev/null""#,
        r#""' UNION SELECT '1""#,
        r#""|sleep 10""#,
        r#""a\r\nb""#,
        r#""a\u0000b""#,
        r#""""#,
        "1",
        r#"["ec"]"#,
        r#"{"a":"ec"}"#,
        "null",
        r#""EC""#,
        r#""ec ""#,
        &long,
    ] {
        door.refuses(kid, &token(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#), &payload, &[1; 64])).await;
    }
    assert_eq!(trap.connections(), 0, "somebody went where a token said");
    door.close(0).await;
}

#[tokio::test]
async fn j11_j12_j13_j17_a_signature_is_one_text_by_one_algorithm() {
    let mut door = Door::open(json!({})).await;
    let payload = door.payload();
    let order = unhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let (zero, mut one, mut below) = (vec![0; 32], vec![0; 32], order.clone());
    (one[31], below[31]) = (1, below[31] - 1);
    for (r, s) in
        [(&zero, &zero), (&zero, &one), (&one, &zero), (&order, &order), (&below, &zero), (&order, &one)]
    {
        let header = json!({"alg": "ES256", "kid": "ec"}).to_string();
        door.refuses("a psychic signature", &token(&header, &payload, &[r.as_slice(), s].concat())).await;
    }
    let good = EC.sign(None, &payload).unwrap();
    let [header, body, signature] = parts(&good);
    let raw = unb64(signature);
    let (r, s) = raw.split_at(32);
    let integer = |number: &[u8]| {
        let sign: &[u8] = if number[0] & 0x80 == 0 { &[] } else { &[0] };
        [&[2, (number.len() + sign.len()) as u8], sign, number].concat()
    };
    let sequence = [integer(r), integer(s)].concat();
    for (place, other) in [
        [&[0x30, sequence.len() as u8], sequence.as_slice()].concat(),
        raw[..63].to_vec(),
        raw[1..].to_vec(),
        [raw.as_slice(), &[0]].concat(),
        [&[0], raw.as_slice()].concat(),
        [&[0], r, &[0], s].concat(),
        [r, s, r, s].concat(),
        [s, r].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        door.refuses(format!("signature {place}"), &format!("{header}.{body}.{}", b64(other))).await;
    }
    for alg in [Alg::ES384, Alg::ES512, Alg::EdDSA] {
        let key = SigningKey::generate(alg, "ec".to_owned()).unwrap();
        let swapped = key.sign(None, &payload).unwrap();
        let [_, body, signature] = parts(&swapped);
        let header = b64(json!({"alg": "ES256", "kid": "ec"}).to_string());
        door.refuses(format!("a key for {alg}"), &format!("{header}.{body}.{signature}")).await;
    }
    let narrow = json!({"token_signing_alg_values_expected": "RS256"});
    let mut narrow = Door::open(narrow).await;
    let payload = narrow.payload();
    let pkcs8 = RSA.to_pkcs8().unwrap();
    for alg in [Alg::PS256, Alg::PS384, Alg::PS512, Alg::RS384, Alg::RS512] {
        let key = SigningKey::from_pkcs8(alg, "rsa".to_owned(), &pkcs8).unwrap();
        narrow.refuses(alg, &key.sign(None, &payload).unwrap()).await;
        let mislabelled = key.sign(None, &payload).unwrap();
        let [_, body, signature] = parts(&mislabelled);
        let header = b64(json!({"alg": "RS256", "kid": "rsa"}).to_string());
        narrow.refuses(format!("{alg} called RS256"), &format!("{header}.{body}.{signature}")).await;
    }
    narrow.takes("RS256", &RSA.sign(None, &payload).unwrap()).await;
    assert!(narrow.failures.is_empty(), "{}", narrow.failures.join("\n"));
    door.close(0).await;
}

#[tokio::test]
async fn j13_j14_j15_j18_keys_that_are_weak_or_for_something_else_verify_nothing() {
    let ec = |kid: &str| SigningKey::generate(Alg::ES256, kid.to_owned()).unwrap();
    let published = |key: &SigningKey, changes: Value| {
        let mut jwk = key.public_jwk();
        jwk.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        jwk
    };
    let good = ec("good");
    let mut bad = Vec::new();
    for (kid, changes) in [
        ("enc", json!({"use": "enc"})),
        ("wrap", json!({"key_ops": ["encrypt"]})),
        ("no-ops", json!({"key_ops": []})),
        ("other-alg", json!({"alg": "ES384"})),
        ("other-kty", json!({"kty": "RSA"})),
        ("off-curve", json!({"y": b64([7; 32])})),
        ("secp256k1", json!({"crv": "secp256k1"})),
        ("p384", json!({"crv": "P-384"})),
    ] {
        let key = ec(kid);
        bad.push((published(&key, changes), key));
    }
    let modulus = |bytes: usize| b64([vec![0xc3], vec![0x55; bytes - 2], vec![0x01]].concat());
    let mut keys: Vec<Value> = bad.iter().map(|(jwk, _)| jwk.clone()).collect();
    let exponents = ["AQ", "Aw", "AQAA"];
    for (bits, e) in
        [(512, "AQAB"), (1024, "AQAB"), (16_384, "AQAB")].into_iter().chain(exponents.map(|e| (2048, e)))
    {
        keys.push(json!({"kty": "RSA", "kid": format!("rsa-{bits}-{e}"), "n": modulus(bits / 8), "e": e}));
    }
    keys.push(good.public_jwk());
    let provider = Provider::start(CLIENT);
    let set = json!({ "keys": keys });
    provider.lie("/jwks", move |_| Answer::json(&set));
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let mut door = Door { site, provider, failures: Vec::new() };
    let payload = door.payload();
    for (jwk, key) in &bad {
        door.refuses(&jwk["kid"], &key.sign(None, &payload).unwrap()).await;
    }
    for (bits, e) in
        [(512, "AQAB"), (1024, "AQAB"), (16_384, "AQAB")].into_iter().chain(exponents.map(|e| (2048, e)))
    {
        let header = json!({"alg": "RS256", "kid": format!("rsa-{bits}-{e}")}).to_string();
        door.refuses(&header, &token(&header, &payload, &vec![1; bits / 8])).await;
    }
    let signed = good.sign(None, &payload).unwrap();
    door.takes("the one good key among them", &signed).await;
    assert!(door.failures.is_empty(), "{}", door.failures.join("\n"));
    assert_eq!(door.site.reached(), 1);
}

#[tokio::test]
async fn j19_j20_j21_j24_j25_j26_a_token_has_one_strict_form() {
    let mut door = Door::open(json!({})).await;
    let payload = door.payload();
    for crit in [r#"["x-new"]"#, "[]", r#""exp""#, "null", r#"["alg"]"#, r#"["b64"]"#, r#"["x","x"]"#] {
        let header = format!(r#"{{"alg":"ES256","kid":"ec","crit":{crit},"x-new":1}}"#);
        door.refuses(crit, &token(&header, &payload, &[1; 64])).await;
    }
    for header in [
        r#"{"alg":"ES256","kid":"ec","b64":false}"#,
        r#"{"alg":"ES256","kid":"ec","b64":false,"crit":["b64"]}"#,
    ] {
        door.refuses(header, &token(header, &payload, &[1; 64])).await;
    }
    let object = String::from_utf8(payload.clone()).unwrap();
    let inside = object.strip_prefix('{').unwrap();
    for twice in [
        format!(r#"{{"sub":"admin",{inside}"#),
        format!(r#"{{"aud":"x",{inside}"#),
        format!(r#"{{"exp":1,{inside}"#),
        format!(r#"{{"scope":"a","scope":"b",{inside}"#),
        format!(r#"{{"\u0073ub":"admin",{inside}"#),
        format!(r#"{{"act":{{"sub":"a","sub":"b"}},{inside}"#),
    ] {
        door.refuses(&twice, &door.raw(&twice)).await;
    }
    for header in [
        r#"{"alg":"none","alg":"ES256","kid":"ec"}"#,
        r#"{"alg":"ES256","kid":"a","kid":"ec"}"#,
        r#"{"alg":"ES256","\u0061lg":"none","kid":"ec"}"#,
    ] {
        door.refuses(header, &token(header, &payload, &[1; 64])).await;
    }
    for odd in [
        format!("\u{feff}{object}"),
        format!("{object}x"),
        format!("{object}{{}}"),
        format!("{object}\0"),
        format!(r#"{{"x":"\ud800",{inside}"#),
        format!("[{object}]"),
        format!("{},}}", object.strip_suffix('}').unwrap()),
        String::new(),
    ] {
        door.refuses(&odd, &door.raw(&odd)).await;
    }
    let not_utf8 = [br#"{"x":""#, &b"\xff"[..], br#"","#, inside.as_bytes()].concat();
    door.refuses("invalid UTF-8", &EC.sign(None, &not_utf8).unwrap()).await;
    let good = EC.sign(None, &payload).unwrap();
    let [header, body, signature] = parts(&good);
    let spoil: [fn(&str) -> String; 6] = [
        |part| format!("{part}="),
        |part| format!("+{}", &part[1..]),
        |part| format!("/{}", &part[1..]),
        |part| format!("{} {}", &part[..4], &part[4..]),
        |part| format!("{}?{}", &part[..4], &part[4..]),
        |part| format!("{part}A"),
    ];
    for spoil in spoil {
        door.refuses("header", &format!("{}.{body}.{signature}", spoil(header))).await;
        door.refuses("payload", &format!("{header}.{}.{signature}", spoil(body))).await;
        door.refuses("signature", &format!("{header}.{body}.{}", spoil(signature))).await;
    }
    let last = signature.chars().last().unwrap();
    let spare =
        format!("{header}.{body}.{}{}", &signature[..signature.len() - 1], char::from(last as u8 + 1));
    door.refuses("spare bits", &spare).await;
    for other in [
        format!("{header}.{body}.{signature}.{body}.{signature}"),
        json!({"payload": body, "protected": header, "signature": signature}).to_string(),
        json!({"payload": body, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
        json!({"payload": body, "signatures": [{"protected": header, "signature": signature},
                                               {"protected": header, "signature": "AAAA"}]})
        .to_string(),
    ] {
        door.refuses(&other, &other).await;
    }
    door.close(0).await;
}

#[tokio::test]
async fn j22_j23_a_token_that_costs_much_is_refused_at_once() {
    let mut door = Door::open(json!({})).await;
    let payload = String::from_utf8(door.payload()).unwrap();
    let inside = payload.strip_prefix('{').unwrap();
    let deep = format!(r#"{{"x":{}{},{inside}"#, "[".repeat(2000), "]".repeat(2000));
    door.refuses("a deep one", &door.raw(&deep)).await;
    let many: String = (0..500).map(|number| format!(r#""m{number}":1,"#)).collect();
    door.refuses("a long number", &door.raw(&format!(r#"{{"x":{},{inside}"#, "9".repeat(5000)))).await;
    door.takes("one with many members", &door.raw(&format!("{{{many}{inside}"))).await;
    for long in [8193, 64 << 10, 1 << 20] {
        door.refuses(long, &"a".repeat(long)).await;
    }
    door.refuses("dots", &format!("a{}a", ".".repeat(30_000))).await;
    door.close(1).await;
}

#[tokio::test]
async fn j16_a_weak_secret_is_refused_when_it_is_configured() {
    let provider = Provider::start(CLIENT);
    let upstream = Upstream::start();
    for secret in ["", "s", "secret", "0123456789abcdef0123456789abcde", "your-256-bit-secret"] {
        let id = unique("j16-");
        let conf = json!({"client_id": CLIENT, "client_secret": "x", "discovery": provider.discovery(),
                          "bearer_only": true, "symmetric_key": secret});
        let route = json!({"uri": format!("/{id}"), "plugins": {"openid-connect": conf},
                           "upstream": {"nodes": {upstream.node(): 1}}});
        let answer = shared().admin().put(&format!("routes/{id}"), &route).await;
        let text = answer.text();
        assert!(answer.status == 400 && text.contains("symmetric_key"), "{secret}: {answer:?}");
        assert!(secret.len() < 10 || !text.contains(secret), "s04: {text}");
    }
}

#[tokio::test]
async fn j48_j49_only_one_token_in_the_header_counts() {
    let mut door = Door::open(json!({})).await;
    let good = EC.sign(None, &door.payload()).unwrap();
    let send = async |line: &str| {
        door.site.gate.send(Request::get(&door.site.target("x")).header("Authorization", line)).await.status
    };
    for (line, status) in [
        (format!("bearer {good}"), 200),
        (format!("BEARER {good}"), 200),
        (format!("Bearer\t{good}"), 401),
        (format!("Bearer {good} {good}"), 401),
        (format!("Bearer {good}, Bearer {good}"), 401),
        (format!("Bearer {good},x"), 401),
        ("Bearer ".to_owned(), 400),
        (format!("Bearer:{good}"), 401),
        (good.clone(), 400),
    ] {
        assert_eq!(send(&line).await, status, "{line}");
    }
    let query = Request::get(&door.site.target(&format!("x?access_token={good}")));
    assert_eq!(door.site.gate.send(query).await.status, 401);
    door.takes("the token alone", &good).await;
    door.close(3).await;
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
