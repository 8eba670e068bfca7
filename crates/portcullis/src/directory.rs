//! A tenant's directory as Auth0's deploy CLI lays it out: `tenant.yaml`, with `##KEY##` and `@@KEY@@` in it replaced from
//! the environment.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
};

use anyhow::{Context, bail};
use base::Random;
use idp::{Idp, directory::Document};
use serde_json::{Map, Number, Value};

use crate::{
    cli,
    config::{self, Config, Node, NodeKind},
    identity, start,
};

/// The file of a directory.
const FILE: &str = "tenant.yaml";
/// Bytes of a file.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Variable with a JSON object of further replacements: deploy CLI's own.
const MAPPINGS: &str = "AUTH0_KEYWORD_REPLACE_MAPPINGS";

/// Brings a tenant to what the directory says, and tells what was left out.
pub(crate) async fn import(idp: &Idp, tenant: &str, folder: &Path) -> anyhow::Result<()> {
    let document = read(folder, &environment()?)?;
    let site = idp.site_of(tenant).await?.with_context(|| format!("there is no tenant {tenant}"))?;
    let path = folder.join(FILE);
    let done = idp::directory::import(idp, &site, document)
        .await
        .with_context(|| format!("{} cannot be imported", path.display()))?;
    for left_out in &done.left_out {
        tracing::warn!(file = %path.display(), "left out of the tenant: {left_out}");
    }
    Ok(())
}

/// `portcullis tenant export`.
pub(crate) fn export(options: &cli::TenantExport) -> anyhow::Result<()> {
    let config = match (&options.config, &options.dir) {
        (Some(file), _) => Config::load(file)?,
        (None, Some(folder)) => dev_config(folder)?,
        (None, None) => bail!("either --config or --dir is needed"),
    };
    let plan = start::Plan::production(config);
    let identity = plan.config.identity.as_ref().context("the configuration has no section `identity`")?;
    let name = match (&options.tenant, identity.tenants.as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [only]) => only.name.clone(),
        (None, _) => bail!("there are several tenants; name one with --tenant"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let document = runtime.block_on(async {
        let idp = identity::open_for_tools(&plan, identity).await?;
        let site = idp.site_of(&name).await?.with_context(|| format!("there is no tenant {name}"))?;
        Ok::<_, anyhow::Error>(idp::directory::export(&idp, &site).await?)
    })?;
    fs::create_dir_all(&options.output)
        .with_context(|| format!("cannot make {}", options.output.display()))?;
    let path = options.output.join(FILE);
    if !options.force && path.exists() {
        bail!("{} is there already; --force replaces it", path.display());
    }
    fs::write(&path, yaml(&document)).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(std::io::stdout(), "{}", path.display()).context("cannot write to standard output")
}

/// The configuration of a folder of `dev`. Nothing is served, so that no admin key is needed.
fn dev_config(folder: &Path) -> anyhow::Result<Config> {
    let key = Random::system().hex(32);
    let variables = move |name: &str| (name == "ADMIN_KEY").then(|| key.clone());
    Ok(Config::load_with(&folder.join("portcullis.yaml"), &variables)?)
}

/// The replacement of a name, as text that stands in the file.
type Replacements = dyn Fn(&str) -> Option<Value>;

fn environment() -> anyhow::Result<Box<Replacements>> {
    let mappings: Map<String, Value> = match std::env::var(MAPPINGS) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{MAPPINGS} is no JSON object"))?,
        Err(_) => Map::new(),
    };
    Ok(Box::new(move |name| {
        mappings.get(name).cloned().or_else(|| std::env::var(name).ok().map(Value::String))
    }))
}

fn read(folder: &Path, replacements: &Replacements) -> anyhow::Result<Document> {
    let path = folder.join(FILE);
    let size = fs::metadata(&path).map(|data| data.len());
    match size {
        Ok(size) if size > MAX_FILE => bail!("{} is larger than {MAX_FILE} bytes", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no {FILE} in {}", folder.display())
        }
        _ => {}
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    document(&text, replacements).with_context(|| format!("{} is not usable", path.display()))
}

fn document(text: &str, replacements: &Replacements) -> anyhow::Result<Document> {
    let text = replace(text, replacements)?;
    // `${NAME}` is for configuration files, and means itself here.
    let parsed = config::parse_yaml(&text.replace("${", "$${"));
    let node = parsed.map_err(|problem| anyhow::anyhow!("{problem}"))?;
    match value(&node) {
        Value::Object(document) => Ok(document),
        Value::Null => Ok(Document::new()),
        _ => bail!("the file must be a mapping"),
    }
}

/// `##KEY##` becomes the text, `@@KEY@@` the value as JSON, with or without quotes around it.
fn replace(text: &str, replacements: &Replacements) -> anyhow::Result<String> {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        // A line that is a comment may speak of names that are not set.
        if line.trim_start().starts_with("# ") {
            out.push_str(line);
            continue;
        }
        while let Some((before, marker, name, after)) = marked(rest) {
            let Some(replacement) = replacements(name) else {
                bail!("line {}: {name} is not set in the environment", number + 1);
            };
            match (marker, &replacement) {
                ("##", Value::String(text)) => {
                    out.push_str(before);
                    out.push_str(text);
                }
                ("##", other) => {
                    out.push_str(before);
                    out.push_str(&other.to_string());
                }
                _ => {
                    let quote = ['"', '\'']
                        .into_iter()
                        .find(|quote| before.ends_with(*quote) && after.starts_with(*quote));
                    let (before, after) = match quote {
                        Some(quote) => (
                            before.strip_suffix(quote).unwrap_or(before),
                            after.strip_prefix(quote).unwrap_or(after),
                        ),
                        None => (before, after),
                    };
                    out.push_str(before);
                    out.push_str(&as_json(&replacement));
                    rest = after;
                    continue;
                }
            }
            rest = after;
        }
        out.push_str(rest);
    }
    Ok(out)
}

/// A variable's text is JSON already, or becomes a JSON string.
fn as_json(replacement: &Value) -> String {
    match replacement {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(Value::Array(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_)) => text.clone(),
            _ => replacement.to_string(),
        },
        other => other.to_string(),
    }
}

/// The first marked name: what is before it, its marker, the name, what is after it.
fn marked(text: &str) -> Option<(&str, &str, &str, &str)> {
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let at = from + rest.find("##").into_iter().chain(rest.find("@@")).min()?;
        let (before, marked) = text.split_at(at);
        let (marker, inner) = marked.split_at_checked(2)?;
        let named = inner.split_once(marker).filter(|(name, _)| is_name(name));
        if let Some((name, after)) = named {
            return Some((before, marker, name, after));
        }
        from = at + 1;
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A node as JSON; plain words mean what YAML 1.2's core schema says.
fn value(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Null => Value::Null,
        NodeKind::Text { text, plain: false } => Value::String(text.expose().clone()),
        NodeKind::Text { text, plain: true } => plain(text.expose()),
        NodeKind::Sequence(items) => items.iter().map(value).collect(),
        NodeKind::Mapping(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect::<Map<_, _>>().into()
        }
    }
}

fn plain(text: &str) -> Value {
    match text {
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        "Null" | "NULL" => Value::Null,
        _ => {
            let number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
                && text.bytes().any(|byte| byte.is_ascii_digit());
            let whole = text.parse::<i64>().ok().filter(|_| number).map(Value::from);
            let broken = || text.parse::<f64>().ok().filter(|_| number).and_then(Number::from_f64);
            whole.or_else(|| broken().map(Value::Number)).unwrap_or_else(|| Value::String(text.to_owned()))
        }
    }
}

/// A document as YAML that deploy CLI reads too.
fn yaml(document: &Document) -> String {
    let mut out = String::new();
    block(&Value::Object(document.clone()), 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                out.push_str(&pad);
                out.push_str(&scalar(&Value::String(name.clone())));
                out.push(':');
                beside(value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&pad);
                out.push('-');
                match item {
                    Value::Object(members) if !members.is_empty() => {
                        // The first member stands beside the dash.
                        let mut inner = String::new();
                        block(item, indent + 1, &mut inner);
                        out.push(' ');
                        out.push_str(inner.trim_start());
                    }
                    other => beside(other, indent, out),
                }
            }
        }
        _ => {}
    }
}

/// What follows a colon or a dash.
fn beside(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            block(value, indent + 1, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(value, indent + 1, out);
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

/// JSON's scalars are YAML's; plain words need no quotes.
fn scalar(value: &Value) -> String {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "~"];
    match value {
        Value::String(text) => {
            let safe = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
            let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(safe)
                && !WORDS.contains(&text.to_lowercase().as_str());
            if plain { text.clone() } else { value.to_string() }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> anyhow::Result<Value> {
        let replacements = |name: &str| match name {
            "HOST" => Some(json!("app.example")),
            "URLS" => Some(json!("[\"https://a.example/\", \"https://b.example/\"]")),
            "LIST" => Some(json!(["x", 1])),
            _ => None,
        };
        document(text, &replacements).map(Value::Object)
    }

    #[test]
    fn keywords_become_texts_or_values() {
        let text =
            "a: https://##HOST##/cb\nb: @@URLS@@\nc: \"@@LIST@@\"\nd: '@@HOST@@'\ne: a##b\n# ##NOT_SET##\n";
        assert_eq!(
            read(text).unwrap(),
            json!({
                "a": "https://app.example/cb", "b": ["https://a.example/", "https://b.example/"],
                "c": ["x", 1], "d": "app.example", "e": "a##b",
            })
        );
        let error = read("a: 1\nb: ##NOT_SET##\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("NOT_SET"), "{error}");
    }

    #[test]
    fn plain_words_are_what_they_look_like() {
        let text =
            "a: true\nb: 12\nc: 1.5\nd: \"12\"\ne: ~\nf: 2026-01-01\ng: ${X}\nh: [1, two]\ni: e\nj: v1.2\n";
        assert_eq!(
            read(text).unwrap(),
            json!({
                "a": true, "b": 12, "c": 1.5, "d": "12", "e": null, "f": "2026-01-01", "g": "${X}",
                "h": [1, "two"], "i": "e", "j": "v1.2",
            })
        );
        assert!(read("- a\n").is_err());
        assert!(read("a: 1\na: 2\n").is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let document = json!({
            "tenant": { "flags": { "a": true, "b": {} }, "friendly_name": "A: \"b\" #c", "n": 1.5, "empty": [] },
            "clients": [
                { "name": "yes", "callbacks": ["https://a.example/cb", "x"], "meta": { "deep": { "er": ["1"] } } },
                {},
            ],
            "odd key": "line\nbreak", "e": "", "num": "007", "lists": [["a"], "b"],
        });
        let text = yaml(document.as_object().unwrap());
        assert_eq!(read(&text).unwrap(), document, "{text}");
    }
}
