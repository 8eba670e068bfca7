//! Load by wrk, and what it costs the proxy.

use std::process::Command;

use anyhow::{Context, bail};

use super::{
    Scenario, Subject,
    portcullis::{Credentials, Way},
    process::Process,
};

/// A closed-loop load.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) seconds: u64,
    pub(crate) connections: u32,
    pub(crate) credentials: &'a Credentials,
}

/// One round of one subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU time of the proxy's processes, microseconds for each request.
    pub(crate) cpu_us: f64,
    /// Requests each second.
    pub(crate) rate: f64,
    /// Median latency, milliseconds.
    pub(crate) p50: f64,
    /// 99th percentile, milliseconds.
    pub(crate) p99: f64,
}

impl Load<'_> {
    /// Fails unless the subject answers 200 with the target's body, and refuses a request without credentials where
    /// some are demanded: a proxy that answers errors is fast.
    pub(crate) fn check(&self, subject: &Subject) -> anyhow::Result<()> {
        let ask = |header: Option<&str>| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--write-out", "\n%{http_code}", &subject.url]);
            command.args(header.into_iter().flat_map(|header| ["--header", header]));
            let output = command.output().context("cannot run curl")?;
            anyhow::Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let way = self.credentials.of(subject.scenario);
        let answer = ask(way.sample())?;
        if !answer.ends_with("\n200") || answer.len() != 150 + 4 {
            bail!("{} answers {answer:?} at {}", subject.name, subject.url);
        }
        if subject.scenario != Scenario::Plain && ask(None)?.ends_with("\n200") {
            bail!("{} lets a request without credentials through at {}", subject.name, subject.url);
        }
        Ok(())
    }

    /// Loads the subject for a round.
    pub(crate) fn apply(&self, subject: &Subject, process: &Process) -> anyhow::Result<Sample> {
        let before = process.cpu_us();
        let text = self.wrk(subject)?;
        let cpu = process.cpu_us().saturating_sub(before);
        parse(&text, cpu).with_context(|| format!("wrk said of {}: {text}", subject.name))
    }

    /// Loads the subject for a round, and tells how many requests that were.
    pub(crate) fn requests(&self, subject: &Subject) -> anyhow::Result<f64> {
        let text = self.wrk(subject)?;
        requests(&text).with_context(|| format!("wrk said of {}: {text}", subject.name))
    }

    fn wrk(&self, subject: &Subject) -> anyhow::Result<String> {
        let mut command = Command::new("wrk");
        command.args(["--threads", "1", "--latency", "--connections", &self.connections.to_string()]);
        command.args(["--duration", &format!("{}s", self.seconds)]);
        match self.credentials.of(subject.scenario) {
            Way::None => command.arg(&subject.url),
            Way::One(header) => command.args(["--header", header, &subject.url]),
            Way::EachNew { script, tokens, .. } => {
                command.arg("--script").arg(script).arg(&subject.url).arg("--").arg(tokens)
            }
        };
        let output = command.output().context("cannot run wrk")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// How many requests were answered; `None` when one of them was not answered well.
fn requests(text: &str) -> Option<f64> {
    // Lines such as `Non-2xx or 3xx responses: 5` or `Socket errors: …` spoil the round.
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return None;
    }
    text.lines().find(|line| line.contains("requests in"))?.split_whitespace().next()?.parse().ok()
}

/// Requests answered, and their 99th percentile in milliseconds; `None` when one of them was not answered well.
pub(crate) fn requests_and_p99(text: &str) -> Option<(f64, f64)> {
    Some((requests(text)?, parse(text, 0)?.p99))
}

fn parse(text: &str, cpu_us: u64) -> Option<Sample> {
    let line =
        |start: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(start)).map(str::trim);
    Some(Sample {
        #[allow(clippy::cast_precision_loss)] // microseconds of one round are far below 2^52
        cpu_us: cpu_us as f64 / requests(text)?,
        rate: line("Requests/sec:")?.parse().ok()?,
        p50: milliseconds(line("50%")?)?,
        p99: milliseconds(line("99%")?)?,
    })
}

fn milliseconds(text: &str) -> Option<f64> {
    let scaled =
        |unit: &str, factor: f64| text.strip_suffix(unit)?.parse::<f64>().ok().map(|value| value * factor);
    scaled("us", 0.001).or_else(|| scaled("ms", 1.0)).or_else(|| scaled("s", 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_understood_and_errors_spoil_a_round() {
        let text = "  Latency Distribution\n     50%  512.00us\n     99%    1.20ms\n  1000 requests in 2.00s, 1MB read\nRequests/sec:    500.00\n";
        let sample = parse(text, 14_000).unwrap();
        assert!((sample.cpu_us - 14.0).abs() < 1e-9 && (sample.p99 - 1.2).abs() < 1e-9);
        assert!(parse(&format!("{text}  Non-2xx or 3xx responses: 3\n"), 1).is_none());
    }
}
