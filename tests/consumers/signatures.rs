//! hmac-auth.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::{
    support::{tokens::now, unique},
    *,
};

const CHALLENGE: &str = "hmac realm=\"hmac\"";
const UNPROVEN: &str = "client request can't be validated";

/// A date of HTTP, so many seconds from now.
fn date(offset: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(now() + offset).unwrap();
    at.format(&Rfc2822).unwrap().replace("+0000", "GMT")
}

struct Signer {
    key_id: String,
    secret: String,
}

impl Signer {
    /// `Authorization` over these lines, which follow the key's id.
    fn sign(&self, algorithm: &str, names: &str, lines: &[String]) -> String {
        let hash = match algorithm {
            "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            "hmac-sha512" => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let text = format!("{}\n{lines}", self.key_id);
        let signature = hmac::sign(&hmac::Key::new(hash, self.secret.as_bytes()), text.as_bytes());
        let (id, value) = (&self.key_id, STANDARD.encode(signature));
        format!(
            "Signature keyId=\"{id}\",algorithm=\"{algorithm}\",headers=\"{names}\",signature=\"{value}\""
        )
    }
}

async fn jack(site: &Site) -> (String, Signer) {
    let (name, signer) = (unique("jack-"), Signer { key_id: unique("id-"), secret: unique("secret-") });
    let conf = json!({"key_id": signer.key_id, "secret_key": signer.secret});
    consumer(&site.gate, &name, json!({"hmac-auth": conf})).await;
    (name, signer)
}

#[tokio::test]
async fn a_signed_request_opens_and_another_one_does_not() {
    let site =
        Site::with_plugins(json!({"hmac-auth": {"signed_headers": ["@request-target", "x-more"]}})).await;
    let (name, signer) = jack(&site).await;
    let (target, date) = (site.target("x?y=1"), date(0));
    let lines = [format!("GET {target}"), format!("date: {date}"), "x-more: 1".to_owned()];
    let names = "@request-target date x-more";
    let signed = signer.sign("hmac-sha256", names, &lines);
    let ask = async |rest: &str, date: &str, more: &str, authorization: &str| {
        let request = forged(&site, rest).header("Date", date).header("X-More", more);
        site.gate.send(request.header("Authorization", authorization)).await
    };
    for (rest, date, more, authorization) in [
        ("x?y=2", date.as_str(), "1", signed.as_str()),
        ("x?y=1", &super::signatures::date(1), "1", &signed),
        ("x?y=1", &date, "2", &signed),
        ("x?y=1", &date, "1", &signed.replace("sha256", "sha1")),
        ("x?y=1", &date, "1", &signed.replace(&signer.key_id, "nobody")),
        ("x?y=1", &date, "1", &signer.sign("hmac-sha256", "date x-more", &lines[1..])),
        (
            "x?y=1",
            &date,
            "1",
            &signer.sign("hmac-sha256", "@request-target x-more", &[lines[0].clone(), lines[2].clone()]),
        ),
        ("x?y=1", &date, "1", &format!("{signed},keyId=\"other\"")),
    ] {
        refused(&site, &ask(rest, date, more, authorization).await, UNPROVEN, CHALLENGE);
    }
    for algorithm in ["hmac-sha1", "hmac-sha256", "hmac-sha512"] {
        let signed = signer.sign(algorithm, names, &lines);
        assert_eq!(ask("x?y=1", &date, "1", &signed).await.status, 200, "{algorithm}");
        assert_eq!(told(&site)[0].as_ref(), Some(&name));
    }
}

#[tokio::test]
async fn h19_a_signature_needs_one_near_date() {
    let site = Site::with_plugins(json!({"hmac-auth": {"clock_skew": 60, "hide_credentials": true, "allowed_algorithms": ["hmac-sha256"]}})).await;
    let (_, signer) = jack(&site).await;
    let missing = "client request can't be validated: missing Authorization header";
    refused(&site, &site.gate.send(forged(&site, "x")).await, missing, CHALLENGE);
    let other = "client request can't be validated: Authorization header does not start with 'Signature'";
    let basic = forged(&site, "x").header("Authorization", "Basic eDp5");
    refused(&site, &site.gate.send(basic).await, other, CHALLENGE);
    let signed = |algorithm: &str, date: &str| {
        let authorization = signer.sign(algorithm, "date", &[format!("date: {date}")]);
        forged(&site, "x").header("Date", date).header("Authorization", &authorization)
    };
    for bad in [
        signed("hmac-sha256", &date(-70)),
        signed("hmac-sha256", &date(70)),
        signed("hmac-sha256", "yesterday"),
        signed("hmac-sha512", &date(0)),
        signed("hmac-sha256", &date(0)).header("Date", &date(0)),
        signed("hmac-sha256", &date(0)).header("Authorization", "Signature x"),
    ] {
        refused(&site, &site.gate.send(bad).await, UNPROVEN, CHALLENGE);
    }
    let good = || signed("hmac-sha256", &date(-30));
    assert_eq!(site.gate.send(good()).await.status, 200);
    assert!(site.upstream.seen().last().unwrap().header("authorization").is_none(), "it is hidden");
}

#[tokio::test]
async fn cve_2026_47341_a_signature_that_was_seen_is_worth_nothing_later() {
    let gate = std::sync::Arc::new(Portcullis::dev());
    let site = Site::on(gate, json!({"hmac-auth": {"signed_headers": ["@request-target"]}})).await;
    let (_, signer) = jack(&site).await;
    let date = date(0);
    let lines = [format!("GET {}", site.target("x")), format!("date: {date}")];
    let signed = signer.sign("hmac-sha256", "@request-target date", &lines);
    let seen = || forged(&site, "x").header("Date", &date).header("Authorization", &signed);
    assert_eq!(site.gate.send(seen()).await.status, 200);
    site.gate.advance(Duration::from_secs(400)).await;
    assert_eq!(site.gate.send(seen()).await.status, 401);
    assert_eq!(site.upstream.seen().len(), 1);
}

/// SHA-256 in base64, as `Digest` has it.
fn digest_of(body: &[u8]) -> String {
    format!("SHA-256={}", STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body)))
}

#[tokio::test]
async fn a_body_is_the_one_that_its_digest_is_of() {
    let conf = json!({"validate_request_body": true, "max_req_body_size": 100_000, "hide_credentials": true, "signed_headers": ["digest"]});
    let site = Site::with_plugins(json!({"hmac-auth": conf})).await;
    let (name, signer) = jack(&site).await;
    let date = date(0);
    let request = |body: &[u8], digest: Option<&str>| {
        let lines = [format!("date: {date}"), format!("digest: {}", digest.unwrap_or_default())];
        let signed = signer.sign("hmac-sha256", "date digest", &lines);
        let request = forged_post(&site).header("Date", &date).header("Authorization", &signed).body(body);
        digest.into_iter().fold(request, |request, digest| request.header("Digest", digest))
    };
    // Longer than what is remembered of a body that is only passed on.
    let body = "x".repeat(100_000).into_bytes();
    for (body, digest) in [
        (&b"body"[..], None),
        (b"body", Some("hello".to_owned())),
        (b"body", Some(digest_of(b"Body"))),
        (b"", Some(digest_of(b"body"))),
        (&body, Some(digest_of(&body[1..]))),
    ] {
        refused(&site, &site.gate.send(request(body, digest.as_deref())).await, UNPROVEN, CHALLENGE);
    }
    let long = vec![b'x'; 100_001];
    let answer = site.gate.send(request(&long, Some(&digest_of(&long)))).await;
    assert_eq!((answer.status, site.upstream.received().as_str()), (413, ""));
    for good in [&b"body"[..], b"", &body] {
        let answer = site.gate.send(request(good, Some(&digest_of(good)))).await;
        assert_eq!(answer.status, 200, "{}", good.len());
        assert_eq!(told(&site)[0].as_ref(), Some(&name));
        let seen = site.upstream.seen().pop().unwrap();
        assert!(seen.message.body == good, "the upstream gets another body");
        assert!(seen.header("authorization").is_none(), "it is hidden");
    }
}

#[tokio::test]
async fn a_checked_body_goes_with_multi_auth_and_the_anonymous_consumer() {
    let anonymous = unique("anyone-");
    let plugins = json!({"hmac-auth": {"validate_request_body": true, "anonymous_consumer": anonymous}});
    let site = Site::with_plugins(plugins).await;
    consumer(&site.gate, &anonymous, json!({})).await;
    let (_, signer) = jack(&site).await;
    let date = date(0);
    let signed = signer.sign("hmac-sha256", "date", &[format!("date: {date}")]);
    let ask = async |site: &Site, digest: &str| {
        let request = forged_post(site).header("Date", &date).header("Digest", digest).body("body");
        site.gate.send(request.header("Authorization", &signed)).await
    };
    assert_eq!(ask(&site, "none").await.status, 200);
    assert_eq!(told(&site)[0].as_ref(), Some(&anonymous));
    let either = json!([{"hmac-auth": {"validate_request_body": true}}, {"key-auth": {}}]);
    let site = Site::on(site.gate.clone(), json!({"multi-auth": {"auth_plugins": either}})).await;
    assert_eq!(ask(&site, "none").await.status, 401);
    assert_eq!(site.upstream.received(), "");
    assert_eq!(ask(&site, &digest_of(b"body")).await.status, 200);
    assert_eq!(site.upstream.seen().pop().unwrap().message.body, b"body");
}

fn forged_post(site: &Site) -> Request {
    let request = Request::new("POST", &site.target("x"));
    TOLD.into_iter().fold(request, |request, name| request.header(name, "evil"))
}
