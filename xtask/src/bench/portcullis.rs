//! Portcullis as the benchmark runs it: `dev`, two routes, a token of its own provider.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::{ports, process::Process, rivals::Configuration};

/// A token, and what rivals need to verify it.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) issuer: String,
    pub(crate) jwks: String,
    pub(crate) key_pem: String,
}

/// Time from start to the line that says so.
#[derive(Debug)]
pub(crate) struct Startup {
    pub(crate) first: Duration,
    pub(crate) again: Duration,
}

/// Starts `dev` twice, to see how long each takes, and configures the second.
pub(crate) fn start(
    folder: &Path,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<(Process, Token, Startup)> {
    let state = folder.join("portcullis");
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    let (child, first) = launch(&state)?;
    drop(Process::adopt("Portcullis".to_owned(), child));
    let (child, again) = launch(&state)?;
    let process = Process::adopt("Portcullis".to_owned(), child);
    let environment = environment(&state)?;
    let variable = |name: &str| environment.get(name).with_context(|| format!("dev.env has no {name}"));
    let issuer = variable("ISSUER")?.clone();

    let request = json!({
        "grant_type": "client_credentials",
        "client_id": variable("AUTH0_CLIENT_ID")?,
        "client_secret": variable("AUTH0_CLIENT_SECRET")?,
        "audience": variable("AUTH0_AUDIENCE")?,
    });
    let answer = curl(&[
        "--data",
        &request.to_string(),
        "--header",
        "content-type: application/json",
        &format!("{issuer}oauth/token"),
    ])?;
    let text = answer.get("access_token").and_then(Value::as_str).context("no access token")?.to_owned();
    let jwks = curl(&[&format!("{issuer}.well-known/jwks.json")])?;
    let key_pem = key_pem(&jwks, &text)?;

    let key = format!("X-API-KEY: {}", variable("ADMIN_KEY")?);
    let upstream = json!({ "nodes": { format!("127.0.0.1:{}", ports::TARGET): 1 } });
    let routes = [
        ("plain", json!({ "uri": "/plain", "upstream": upstream })),
        (
            "bearer",
            json!({
                "uri": "/bearer",
                "upstream": upstream,
                "plugins": { "openid-connect": {
                    "client_id": "benchmark",
                    "client_secret": "benchmark-benchmark",
                    "discovery": format!("{issuer}.well-known/openid-configuration"),
                    "bearer_only": true,
                    "use_jwks": true,
                }},
            }),
        ),
    ];
    for (id, route) in routes {
        let admin = format!("http://127.0.0.1:{}/apisix/admin/routes/{id}", 9180 + ports::PORTCULLIS_OFFSET);
        let answer = curl(&["--request", "PUT", "--header", &key, "--data", &route.to_string(), &admin])?;
        if answer.get("key").is_none() {
            bail!("the Admin API answers {answer}");
        }
        configurations
            .push((format!("portcullis, route {id}"), serde_json::to_string_pretty(&route)? + "\n"));
    }
    Ok((process, Token { text, issuer, jwks: jwks.to_string(), key_pem }, Startup { first, again }))
}

fn launch(state: &Path) -> anyhow::Result<(Child, Duration)> {
    let began = Instant::now();
    let mut child = Command::new("target/release/portcullis")
        .arg("dev")
        .arg("--dir")
        .arg(state)
        .args(["--port-offset", &ports::PORTCULLIS_OFFSET.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start target/release/portcullis")?;
    let output = child.stdout.take().context("no output")?;
    for line in BufReader::new(output).lines() {
        if line?.trim() == "portcullis is ready" {
            return Ok((child, began.elapsed()));
        }
    }
    bail!("portcullis ended before it was ready: {}", child.wait()?)
}

/// The lines `export NAME=VALUE` of `dev.env`.
fn environment(state: &Path) -> anyhow::Result<HashMap<String, String>> {
    let text = fs::read_to_string(state.join("dev.env"))?;
    let pair = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

fn curl(arguments: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new("curl").arg("--silent").args(arguments).output().context("cannot run curl")?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&output.stdout)))
}

/// The key that signed `token` as PEM (SubjectPublicKeyInfo), which is what HAProxy reads.
fn key_pem(jwks: &Value, token: &str) -> anyhow::Result<String> {
    let header = token.split('.').next().unwrap_or_default();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    let key = jwks
        .get("keys")
        .and_then(Value::as_array)
        .and_then(|keys| keys.iter().find(|key| key.get("kid") == header.get("kid")))
        .context("the token's key is not published")?;
    let number = |name: &str| {
        let text = key.get(name).and_then(Value::as_str).context("not an RSA key")?;
        anyhow::Ok(URL_SAFE_NO_PAD.decode(text)?)
    };
    let rsa = sequence(&[integer(&number("n")?), integer(&number("e")?)].concat());
    // rsaEncryption (1.2.840.113549.1.1.1) with its NULL parameter.
    let algorithm =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let bits = tagged(0x03, &[&[0][..], &rsa].concat());
    let text = STANDARD.encode(sequence(&[&algorithm[..], &bits].concat()));
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"))
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let padded = if negative { [&[0][..], bytes].concat() } else { bytes.to_vec() };
    tagged(0x02, &padded)
}

fn sequence(content: &[u8]) -> Vec<u8> {
    tagged(0x30, content)
}

/// DER: tag, length, content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0));
            out.extend(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}
