//! Secrets that AWS and Google keep, asked for at servers of the tests; and certificates that stand elsewhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::STANDARD};
use jose::{Alg, CompactJws, SigningKey};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use serde_json::{Value, json};

use super::references::{redirect, sent_to, started};
use crate::support::{
    Answer, Portcullis, Seen, Upstream,
    admin::node,
    process::locked,
    tls::{self, Authority, Wanted},
    unique,
};

type Secrets = Arc<Mutex<HashMap<String, String>>>;

/// AWS Secrets Manager, as far as `GetSecretValue`: it believes nobody whose signature it does not find itself.
struct Aws {
    server: Upstream,
    secrets: Secrets,
}

impl Aws {
    fn start(id: &str, secret: &str, token: &str) -> Self {
        let secrets = Secrets::default();
        let held = Arc::clone(&secrets);
        let (id, secret, token) = (id.to_owned(), secret.to_owned(), token.to_owned());
        let server = Upstream::scripted(move |seen| {
            let error = |kind: &str| {
                Answer::with(400, &[], json!({"__type": format!("com.amazonaws#{kind}")}).to_string())
            };
            if seen.header("x-amz-security-token") != Some(&token) {
                return error("UnrecognizedClientException");
            }
            if seen.header("authorization").map(str::to_owned) != Some(Self::signature(seen, &id, &secret)) {
                return error("InvalidSignatureException");
            }
            let asked: Value = serde_json::from_slice(&seen.message.body).unwrap();
            assert_eq!((&asked["VersionStage"], seen.method.as_str()), (&json!("AWSCURRENT"), "POST"));
            match locked(&held).get(asked["SecretId"].as_str().unwrap()) {
                Some(secret) if secret == "down" => Answer::with(500, &[], "{}"),
                Some(secret) => Answer::json(&json!({"Name": asked["SecretId"], "SecretString": secret})),
                None => error("ResourceNotFoundException"),
            }
        });
        Self { server, secrets }
    }

    /// `Authorization` as it should be, written down once more from AWS's documentation.
    fn signature(seen: &Seen, id: &str, secret: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let sha = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
        let mac = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
        };
        let names = ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
        let lines: String =
            names.iter().map(|name| format!("{name}:{}\n", seen.header(name).unwrap_or_default())).collect();
        let names = names.join(";");
        let request = format!("POST\n/\n\n{lines}\n{names}\n{}", sha(&seen.message.body));
        let at = seen.header("x-amz-date").unwrap_or_default();
        let date = at.split('T').next().unwrap();
        let scope = format!("{date}/eu-central-1/secretsmanager/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", sha(request.as_bytes()));
        let key = [date, "eu-central-1", "secretsmanager", "aws4_request"]
            .into_iter()
            .fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
        let signature = hex(&mac(&key, &text));
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    fn set(&self, name: &str, secret: Option<&str>) {
        let mut secrets = locked(&self.secrets);
        match secret {
            Some(secret) => drop(secrets.insert(name.to_owned(), secret.to_owned())),
            None => drop(secrets.remove(name)),
        }
    }
}

#[tokio::test]
async fn s01_a_secret_of_aws_is_asked_for_signed_kept_and_never_told() {
    let (key, token) = (unique("aws-key-canary-"), unique("aws-token-canary-"));
    let gate = started(&[("GATE_AWS_ID", "AKIDGATE"), ("GATE_AWS_KEY", &key)]);
    let admin = gate.admin();
    let aws = Aws::start("AKIDGATE", &key, &token);
    let endpoint = format!("http://{}", aws.server.node());
    let manager = json!({
        "access_key_id": "$env://GATE_AWS_ID", "secret_access_key": "$env://GATE_AWS_KEY", "session_token": token,
        "region": "eu-central-1", "endpoint_url": endpoint,
    });
    let answer = admin.put("secrets/aws/1", &manager).await;
    assert_eq!(
        (answer.status, &answer.json()["key"]),
        (201, &json!("/apisix/secrets/aws/1")),
        "{}",
        answer.text()
    );
    aws.set("apps/gate", Some(r#"{"target": "/one", "n": 1}"#));
    aws.set("text", Some("no json"));
    let reference = "$secret://aws/1/apps/gate/target";
    admin.set("routes/v", &redirect("/v", reference)).await;
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/one"));
    assert_eq!(
        aws.server.seen().last().unwrap().header("x-amz-target"),
        Some("secretsmanager.GetSecretValue")
    );
    for (to, told) in [
        ("$secret://aws/1/apps/gate/none", "the secret has no such key"),
        ("$secret://aws/1/apps/gate/n", "what the secret has under this key is no text"),
        ("$secret://aws/1/other/x", "AWS Secrets Manager has no such secret"),
        ("$secret://aws/1/text/x", "the secret is no JSON object"),
        ("$secret://aws/2/apps/gate/target", "there is no secret manager aws/2"),
        ("$secret://aws/1/apps", "it is not `$secret://MANAGER/ID/PATH/KEY`"),
    ] {
        let answer = admin.put("routes/refused", &redirect("/refused", to)).await;
        assert_eq!(answer.status, 400, "{to}");
        assert!(answer.text().contains(told), "{}", answer.text());
    }
    // Kept while AWS is down, gone when AWS says so.
    for (secret, location) in [
        (Some(r#"{"target": "/two"}"#), "/two"),
        (Some("down"), "/two"),
        (Some(r#"{"target": "/three"}"#), "/three"),
    ] {
        aws.set("apps/gate", secret);
        gate.advance(Duration::from_secs(301)).await;
        assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some(location), "{secret:?}");
    }
    aws.set("apps/gate", None);
    gate.advance(Duration::from_secs(301)).await;
    let status = admin.call("GET", "/status", None).await;
    assert!(status.text().contains("AWS Secrets Manager has no such secret"), "{}", status.text());
    // A key that AWS does not know says nothing about the secret.
    aws.set("apps/gate", Some(r#"{"target": "/four"}"#));
    let mut wrong = manager.clone();
    wrong["secret_access_key"] = json!("another");
    admin.set("secrets/aws/2", &wrong).await;
    let answer = admin.put("routes/refused", &redirect("/refused", "$secret://aws/2/apps/gate/target")).await;
    assert!(
        answer.text().contains("AWS Secrets Manager answers 400 InvalidSignatureException"),
        "{}",
        answer.text()
    );
    let output = gate.output();
    assert!(!output.contains(&key) && !output.contains(&token));
}

/// Google's token endpoint and Secret Manager.
struct Google {
    server: Upstream,
    secrets: Secrets,
    /// The PEM of the service account's key.
    pem: String,
}

const ACCOUNT: &str = "gate@project.iam.gserviceaccount.com";

impl Google {
    fn start(access_token: &str) -> Self {
        let key = SigningKey::generate(Alg::RS256, "k".to_owned()).unwrap();
        let pem = STANDARD.encode(key.to_pkcs8().unwrap().as_slice());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
        let secrets = Secrets::default();
        let (held, token) = (Arc::clone(&secrets), access_token.to_owned());
        let server = Upstream::scripted(move |seen| match seen.path() {
            "/token" => {
                let form: HashMap<_, _> = form_urlencoded::parse(&seen.message.body).into_owned().collect();
                assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
                let jws = CompactJws::parse(&form["assertion"]).unwrap();
                let Ok(claims) = jws.verify(&key.verifying_key()) else {
                    return Answer::with(400, &[], "{}");
                };
                let claims: Value = serde_json::from_slice(&claims).unwrap();
                let host = seen.header("host").unwrap();
                assert_eq!(claims["aud"], format!("http://{host}/token"));
                assert_eq!((&claims["iss"], &claims["scope"]), (&json!(ACCOUNT), &json!("a b")));
                assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
                Answer::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
            }
            path => {
                if seen.header("authorization") != Some(&format!("Bearer {token}")) {
                    return Answer::with(401, &[], "{}");
                }
                let secrets = locked(&held);
                let name = path
                    .strip_prefix("/v1/projects/p-1/secrets/")
                    .and_then(|path| path.strip_suffix("/versions/latest:access"));
                match name.and_then(|name| secrets.get(name)) {
                    Some(secret) => Answer::json(&json!({"payload": {"data": STANDARD.encode(secret)}})),
                    None => Answer::with(404, &[], "{}"),
                }
            }
        });
        Self { server, secrets, pem }
    }

    fn account(&self) -> Value {
        let base = format!("http://{}", self.server.node());
        json!({
            "client_email": ACCOUNT, "private_key": self.pem, "project_id": "p-1", "scope": ["a", "b"],
            "token_uri": format!("{base}/token"), "entries_uri": format!("{base}/v1/"),
        })
    }

    fn set(&self, name: &str, secret: &str) {
        locked(&self.secrets).insert(name.to_owned(), secret.to_owned());
    }

    fn asked(&self, path: &str) -> usize {
        self.server.seen().iter().filter(|seen| seen.path().starts_with(path)).count()
    }
}

#[tokio::test]
async fn s01_a_secret_of_google_is_asked_for_as_a_service_account_and_never_told() {
    let token = unique("google-token-canary-");
    let google = Google::start(&token);
    let gate = started(&[("GATE_GOOGLE_KEY", &google.pem)]);
    let admin = gate.admin();
    google.set("gate", r#"{"target": "/one", "other": "/other"}"#);
    let mut account = google.account();
    account["private_key"] = json!("$env://GATE_GOOGLE_KEY");
    admin.set("secrets/gcp/1", &json!({"auth_config": account})).await;
    admin.set("routes/v", &redirect("/v", "$secret://gcp/1/gate/target")).await;
    admin.set("routes/w", &redirect("/w", "$secret://gcp/1/gate/other")).await;
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/one"));
    assert_eq!(sent_to(&gate, "/w").await.as_deref(), Some("/other"));
    assert_eq!((google.asked("/token"), google.asked("/v1/")), (1, 2), "one token serves for both");
    google.set("gate", r#"{"target": "/two", "other": "/other"}"#);
    gate.advance(Duration::from_secs(301)).await;
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/two"));
    assert_eq!(google.asked("/token"), 1);
    gate.advance(Duration::from_secs(3600)).await;
    assert_eq!((google.asked("/token"), google.asked("/v1/")), (2, 6), "it is replaced in time");
    for (to, told) in [
        ("$secret://gcp/1/none/x", "Google Secret Manager has no such secret"),
        ("$secret://gcp/1/gate/none", "the secret has no such key"),
        ("$secret://gcp/1/a/b/c", "the name of a secret of Google's has no `/`"),
    ] {
        let answer = admin.put("routes/refused", &redirect("/refused", to)).await;
        assert_eq!(answer.status, 400, "{to}");
        assert!(answer.text().contains(told), "{}", answer.text());
    }
    // From a file on the gateway's machine, too.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("account.json");
    std::fs::write(&file, google.account().to_string()).unwrap();
    admin.set("secrets/gcp/file", &json!({"auth_file": file.to_str().unwrap()})).await;
    admin.set("routes/x", &redirect("/x", "$secret://gcp/file/gate/target")).await;
    assert_eq!(sent_to(&gate, "/x").await.as_deref(), Some("/two"));
    for (path, told) in [
        ("/etc/hostname", "auth_file: it is no JSON"),
        ("/dev/zero", "it is no file"),
        ("/none", "it cannot be read"),
    ] {
        admin.set("secrets/gcp/odd", &json!({"auth_file": path})).await;
        let answer =
            admin.put("routes/refused", &redirect("/refused", "$secret://gcp/odd/gate/target")).await;
        assert!(answer.status == 400 && answer.text().contains(told), "{}", answer.text());
    }
    let output = gate.output();
    assert!(!output.contains(&token) && !output.contains(&google.pem[40..80]));
}

#[tokio::test]
async fn managers_of_aws_and_google_are_checked_listed_and_hidden() {
    let (gate, viewer) = Portcullis::production("");
    let admin = gate.admin();
    let aws = json!({"access_key_id": "id", "secret_access_key": "s-canary", "session_token": "t-canary"});
    let account = json!({"client_email": "a@b", "private_key": "p-canary", "project_id": "p"});
    admin.set("secrets/aws/test", &aws).await;
    admin.set("secrets/gcp/test", &json!({"auth_config": account, "ssl_verify": true})).await;
    assert_eq!(admin.get("secrets").await.json()["total"], 2);
    assert_eq!(admin.get("secrets/aws").await.json()["total"], 1);
    assert_eq!(admin.get("secrets/aws/test").await.json()["value"]["secret_access_key"], "s-canary");
    assert_eq!(admin.get("secrets/gcp/test").await.json()["value"]["auth_config"]["private_key"], "p-canary");
    for path in ["secrets", "secrets/aws/test", "secrets/gcp/test"] {
        let shown = viewer.get(path).await;
        assert!(shown.status == 200 && !shown.text().contains("canary"), "{}", shown.text());
    }
    let files = |folder: &std::path::Path| -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).map(|path| std::fs::read(path).unwrap()).collect()
    };
    let stored: Vec<u8> = [files(gate.folder()), files(&gate.state())].concat().concat();
    let stored = String::from_utf8_lossy(&stored).into_owned();
    assert!(stored.contains("secret_access_key") && !stored.contains("canary"), "they are sealed at rest");
    for (path, body, told) in [
        ("aws/1", json!({}), "property \"access_key_id\" is required"),
        ("aws/1", json!({"access_key_id": "a"}), "property \"secret_access_key\" is required"),
        (
            "aws/1",
            json!({"access_key_id": "a", "secret_access_key": "b", "endpoint_url": "x"}),
            "property \"endpoint_url\" validation failed",
        ),
        (
            "aws/1",
            json!({"access_key_id": "a", "secret_access_key": "b", "token": "x"}),
            "additional properties forbidden, found token",
        ),
        ("gcp/1", json!({}), "value should match only one schema, but matches none"),
        (
            "gcp/1",
            json!({"auth_file": "/x", "auth_config": account}),
            "value should match only one schema, but matches both schemas 1 and 2",
        ),
        ("gcp/1", json!({"auth_file": "relative"}), "property \"auth_file\" validation failed"),
        (
            "gcp/1",
            json!({"auth_config": {"client_email": "a", "private_key": "k"}}),
            "property \"project_id\" is required",
        ),
    ] {
        let answer = admin.put(&format!("secrets/{path}"), &body).await;
        let error = answer.json()["error_msg"].as_str().unwrap_or_default().to_owned();
        assert!(
            answer.status == 400 && error.starts_with("invalid configuration: ") && error.contains(told),
            "{error}"
        );
    }
}

#[tokio::test]
async fn s01_certificates_and_their_keys_may_stand_elsewhere() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let own = servers.issue(&["kept.test"], |_| {});
    let shown = clients.issue(&["the gate"], |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let gate = started(&[
        ("GATE_CERT", &own.chain_pem()),
        ("GATE_KEY", &own.key_pem()),
        ("GATE_CLIENTS", &clients.pem()),
        ("GATE_SHOWN", &json!({"cert": shown.chain_pem(), "key": shown.key_pem()}).to_string()),
    ]);
    let admin = gate.admin();
    // The pair twice: the further lists are resolved as well.
    let ssl = json!({
        "sni": "kept.test", "cert": "$env://GATE_CERT", "key": "$ENV://GATE_KEY", "certs": ["$env://GATE_CERT"],
        "keys": ["$env://GATE_KEY"], "client": {"ca": "$env://GATE_CLIENTS"},
    });
    admin.set("ssls/kept", &ssl).await;
    let listed = admin.get("ssls/kept").await.json();
    assert_eq!(listed["value"]["cert"], "$env://GATE_CERT");
    assert_eq!(listed["value"]["client"]["ca"], "$env://GATE_CLIENTS");
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("ca.pem");
    std::fs::write(&roots, servers.pem()).unwrap();
    let upstream = Upstream::over_tls(tls::server_for(&servers.issue(&["u.test"], |_| {}), &clients));
    let mut target = node(&upstream);
    target["scheme"] = json!("https");
    target["tls"] = json!({"verify": false, "client_cert": "$env://GATE_SHOWN/cert", "client_key": "$env://GATE_SHOWN/key"});
    admin.set("upstreams/kept", &target).await;
    admin.set("services/kept", &json!({"upstream": target})).await;
    admin.set("routes/inline", &json!({"uri": "/inline", "upstream": target})).await;
    admin.set("routes/named", &json!({"uri": "/named", "upstream_id": "kept"})).await;
    admin.set("routes/served", &json!({"uri": "/served", "service_id": "kept"})).await;
    let wanted = Wanted { identity: Some(shown), ..Wanted::default() };
    let client = tls::client(&roots, &wanted);
    for path in ["/inline", "/named", "/served"] {
        assert_eq!(gate.get(path).await.status, 200, "{path}");
        let stream = tls::handshake(Arc::clone(&client), gate.port(9443), "kept.test").await.unwrap();
        let request = crate::support::Request::get(path).header("Host", "kept.test");
        let answer = request.send_over(crate::support::Connection::over(stream)).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let anonymous = tls::client(&roots, &Wanted::default());
    let refused = match tls::handshake(anonymous, gate.port(9443), "kept.test").await {
        Err(_) => true,
        Ok(stream) => {
            let mut connection = crate::support::Connection::over(stream);
            connection.send(b"GET /inline HTTP/1.1\r\nHost: kept.test\r\n\r\n").await;
            connection.response().await.is_none()
        }
    };
    assert!(refused, "`client.ca` is what the environment says");
}
