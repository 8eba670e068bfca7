//! Access tokens from Portcullis' own provider: one, or as many different ones as no cache holds.

use std::{collections::HashSet, fmt::Write, fs, path::Path, process::Command, thread};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

/// More than any cache under test holds; several times what Portcullis keeps on both cores.
const MANY: usize = 40_000;
/// Processes that fetch them; one would wait for the other's signature.
const FETCHERS: usize = 2;

/// Where tokens come from.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) client_secret: &'a str,
    pub(crate) audience: &'a str,
}

impl Source<'_> {
    /// One token.
    pub(crate) fn one(&self) -> anyhow::Result<String> {
        self.fetch(1)?.pop().context("no access token")
    }

    /// A file of many, one a line.
    pub(crate) fn many(&self, file: &Path) -> anyhow::Result<()> {
        let tokens = thread::scope(|scope| {
            let workers: Vec<_> =
                (0..FETCHERS).map(|_| scope.spawn(|| self.fetch(MANY / FETCHERS))).collect();
            let mut tokens = HashSet::new();
            for worker in workers {
                tokens.extend(worker.join().map_err(|_| anyhow!("fetching tokens failed"))??);
            }
            anyhow::Ok(tokens)
        })?;
        if tokens.len() < MANY {
            bail!("of {MANY} tokens {} are different", tokens.len());
        }
        let mut text = String::new();
        for token in tokens {
            let _ = writeln!(text, "{token}");
        }
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// As many tokens over one connection.
    fn fetch(&self, number: usize) -> anyhow::Result<Vec<String>> {
        // A fragment is not sent: this is the same request over and over.
        let url = format!("{}#[1-{number}]", self.endpoint);
        let field = |name: &str, value: &str| ["--data-urlencode".to_owned(), format!("{name}={value}")];
        let output = Command::new("curl")
            .arg("--silent")
            .args(field("grant_type", "client_credentials"))
            .args(field("client_id", self.client_id))
            .args(field("client_secret", self.client_secret))
            .args(field("audience", self.audience))
            .arg(url)
            .output()
            .context("cannot run curl")?;
        serde_json::Deserializer::from_slice(&output.stdout)
            .into_iter::<Value>()
            .map(|answer| {
                let answer = answer.context("the token endpoint does not answer JSON")?;
                let token = answer.get("access_token").and_then(Value::as_str);
                Ok(token.with_context(|| format!("the token endpoint answers {answer}"))?.to_owned())
            })
            .collect()
    }
}
