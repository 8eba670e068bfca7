//! The identity provider beside npm's `oidc-provider`: tokens, refreshes, introspections, code flows and password logins a
//! second, and what a flood of logins does to the gateway's latency.

mod exchanges;
mod rival;

use std::{fmt::Write, path::Path};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use self::exchanges::{Exchange, Subject};
use super::{
    Effort, generator,
    portcullis::{self, Gate, curl},
    ports,
    rows::{Figures, Rows, Spread},
};
use crate::packages;

/// Clients that wait for each other's answers.
const CONNECTIONS: usize = 16;
/// Requests each second to the gateway while its provider is flooded; far below what it can do alone.
const GATEWAY_RATE: f64 = 1000.0;
/// Threads that hash, in the provider and in what takes their place.
const HASHING_THREADS: usize = 2;
/// What the provider's hashing threads have.
const HASHING_NICENESS: u32 = 10;
/// The gateway's 99th percentile beside a flood of logins, at most, in proportion to that beside hashing elsewhere.
const FLOODED: f64 = 1.05;
/// Logins under way at once in a flood.
const FLOOD: usize = 8;
const OWN: &str = "Portcullis";
const RIVAL: &str = "oidc-provider";

/// Measures all of it. The target of the gateway's plain route must be there.
pub(crate) fn measure(binary: &Path, effort: Effort, folder: &Path, rows: &mut Rows) -> anyhow::Result<()> {
    println!("identity providers");
    let gate = portcullis::start_dev(binary, folder)?;
    let own = prepare(&gate)?;
    packages::build_peers()?;
    let rival = rival::start(folder)?;
    let subjects = [
        (OWN, exchanges::own(&own), gate.process.family()),
        (RIVAL, exchanges::rival(&rival.subject), rival.process.family()),
    ];
    let (rounds, seconds) = effort.fixed();
    for round in 0..rounds {
        for name in exchanges::NAMES {
            for (subject, all, processes) in &subjects {
                let Some(exchange) = all.iter().find(|exchange| exchange.name == name) else { continue };
                let key = format!("provider/{name}/{subject}/{round}");
                let figures = rows.measure(&key, || closed(exchange, processes, seconds))?;
                let of = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
                println!("  {name:<26} {subject:<14} {:>8.0}/s {:>8.0} µs", of("rate"), of("cpu_us"));
            }
        }
    }
    drop(rival);
    flooded(&gate, &own, rounds, seconds, rows)
}

/// A closed loop of one exchange.
fn closed(exchange: &Exchange, processes: &[u32], seconds: f64) -> anyhow::Result<Figures> {
    let mut figures = generator::load(&exchange.plan(CONNECTIONS, seconds, processes))?;
    let of = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
    let (requests, cpu_ns, seconds) = (of("requests"), of("cpu_ns"), of("seconds"));
    figures.insert("rate".to_owned(), requests / seconds);
    figures.insert("cpu_us".to_owned(), cpu_ns / 1000.0 / requests);
    Ok(figures)
}

/// The gateway's latency alone, while its own provider hashes for a flood of logins, and while another process of the same
/// priority does the same hashing.
fn flooded(gate: &Gate, own: &Subject, rounds: usize, seconds: f64, rows: &mut Rows) -> anyhow::Result<()> {
    let plain = json!({
        "address": format!("127.0.0.1:{}", gate.port(9080)),
        "connections": CONNECTIONS,
        "warm_up": 0.25,
        "seconds": seconds,
        "rate": GATEWAY_RATE,
        "steps": [{ "target": "/plain", "headers": ["Host: localhost", "User-Agent: load"] }],
    });
    let logins = exchanges::own(own).into_iter().find(|exchange| exchange.name == exchanges::LOGINS);
    // It ends by itself, after what it is to disturb.
    let flood = logins.context("no logins")?.plan(FLOOD, seconds + 1.0, &[]);
    let hashing = json!({ "mode": "burn", "threads": HASHING_THREADS });
    let burdens = [("alone", None), ("logins", Some(&flood)), ("hashing elsewhere", Some(&hashing))];
    for round in 0..rounds {
        for (name, burden) in burdens {
            let figures = rows.measure(&format!("flooded/{name}/{OWN}/{round}"), || {
                let burden = burden.map(|plan| generator::start_at(plan, HASHING_NICENESS)).transpose()?;
                let figures = generator::load(&plain)?;
                drop(burden);
                Ok(figures)
            })?;
            let p99 = figures.get("p99_ms").copied().unwrap_or(f64::NAN);
            println!("  gateway, {name:<26} p99 {p99:>7.2} ms");
        }
    }
    Ok(())
}

/// APIs of every algorithm, an application with every grant that is measured, and the gateway's plain route.
fn prepare(gate: &Gate) -> anyhow::Result<Subject> {
    let issuer = gate.variable("ISSUER")?;
    let management = format!("{issuer}api/v2/");
    let source = super::tokens::Source {
        endpoint: &format!("{issuer}oauth/token"),
        client_id: gate.variable("AUTH0_MGMT_CLIENT_ID")?,
        client_secret: gate.variable("AUTH0_MGMT_CLIENT_SECRET")?,
        audience: &management,
    };
    let bearer = format!("Authorization: Bearer {}", source.one()?);
    let send = |method: &str, path: &str, body: Value| {
        let (kind, body, url) =
            ("Content-Type: application/json", body.to_string(), format!("{management}{path}"));
        curl(&["--request", method, "--header", &bearer, "--header", kind, "--data", &body, &url])
    };
    let text = |made: &Value, member: &str| {
        let text = made.get(member).and_then(Value::as_str).map(str::to_owned);
        text.with_context(|| format!("the Management API answers {made}"))
    };
    let client = json!({
        "name": "Benchmark", "app_type": "regular_web", "callbacks": [exchanges::CALLBACK],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "refresh_token": { "rotation_type": "rotating", "leeway": 0 },
    });
    let client = send("POST", "clients", client)?;
    let (id, secret) = (text(&client, "client_id")?, text(&client, "client_secret")?);
    for alg in exchanges::ALGORITHMS {
        let audience = exchanges::audience(alg);
        let api = json!({ "name": alg, "identifier": audience, "signing_alg": alg });
        text(&send("POST", "resource-servers", api)?, "id")?;
        let grant = json!({ "client_id": id, "audience": audience, "scope": [] });
        text(&send("POST", "client-grants", grant)?, "id")?;
    }
    let connections = curl(&["--header", &bearer, &format!("{management}connections")])?;
    let connection = text(connections.get(0).context("no connection")?, "id")?;
    let url = format!("{management}connections/{connection}/clients");
    let enable = json!([{ "client_id": id, "status": true }]).to_string();
    let status = ["--request", "PATCH", "--header", &bearer, "--header", "Content-Type: application/json"];
    let output = ["--data", &enable, "--output", "/dev/null", "--write-out", "%{http_code}", &url];
    let answered = curl(&[&status[..], &output].concat())?;
    if answered != 204 {
        bail!("the connection is not given to the application: {answered}");
    }
    // All clients log the same user in at once, which is what the lockout is there to end.
    let unlimited = json!({ "options": { "brute_force_protection": false } });
    text(&send("PATCH", &format!("connections/{connection}"), unlimited)?, "id")?;
    let route =
        json!({ "uri": "/plain", "upstream": { "nodes": { format!("127.0.0.1:{}", ports::TARGET): 1 } } });
    portcullis::put(gate, "routes/plain", &route)?;
    Ok(Subject {
        port: gate.port(9400),
        client: id,
        secret,
        user: gate.variable("DEMO_USER")?.to_owned(),
        password: gate.variable("DEMO_PASSWORD")?.to_owned(),
    })
}

/// Its part of `docs/benchmarks.md`.
pub(crate) fn write(page: &mut String, rows: &Rows) {
    let of =
        |name: &str, subject: &str, figure: &str| rows.rounds(&format!("provider/{name}/{subject}"), figure);
    if !exchanges::NAMES.iter().any(|name| of(name, OWN, "rate").is_there()) {
        return;
    }
    let _ = writeln!(
        page,
        "## The identity provider\n\n{CONNECTIONS} clients that each wait for their answer; clients and providers share \
         the machine. Portcullis keeps everything in SQLite and syncs before it answers; `oidc-provider` keeps \
         everything in memory, and checks no passwords.\n\n\
         | | Portcullis, per second | CPU µs each | {RIVAL}, per second | CPU µs each |\n|---|---:|---:|---:|---:|"
    );
    let told = |spread: Spread| match spread.is_there() {
        true => format!("{:.0} ({:.0}–{:.0})", spread.median, spread.least, spread.most),
        false => "–".to_owned(),
    };
    for name in exchanges::NAMES {
        let cells = [(OWN, "rate"), (OWN, "cpu_us"), (RIVAL, "rate"), (RIVAL, "cpu_us")];
        let cells = cells.map(|(subject, figure)| told(of(name, subject, figure)));
        let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
    }
    let _ = writeln!(
        page,
        "\nThe gateway's latency at {GATEWAY_RATE:.0} requests/s beside the provider, ms:\n\n| burden | p50 | p99 |\n|---|---:|---:|"
    );
    for name in ["alone", "logins", "hashing elsewhere"] {
        let of = |figure: &str| {
            let Spread { median, least, most } = rows.rounds(&format!("flooded/{name}/{OWN}"), figure);
            format!("{median:.2} ({least:.2}–{most:.2})")
        };
        let _ = writeln!(page, "| {name} | {} | {} |", of("p50_ms"), of("p99_ms"));
    }
    let late = |name: &str| rows.rounds(&format!("flooded/{name}/{OWN}"), "p99_ms");
    let (own, elsewhere) = (late("logins"), late("hashing elsewhere"));
    let (ratio, best, worst) =
        (own.median / elsewhere.median, own.least / elsewhere.most, own.most / elsewhere.least);
    let verdict = match (ratio <= FLOODED, best <= FLOODED && worst > FLOODED) {
        (true, _) => "Met.",
        (false, true) => "**Not met**, within the noise.",
        (false, false) => "**Not met.**",
    };
    let _ = writeln!(
        page,
        "\nAim: beside logins a 99th percentile at most {FLOODED} times that beside hashing elsewhere, which has the same \
         priority. Here it is {ratio:.2} times ({best:.2}–{worst:.2} between rounds). {verdict}"
    );
    let _ = writeln!(page);
}
