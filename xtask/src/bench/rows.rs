//! Raw rows: each figure as it was measured, in a file, so that a run that was interrupted goes on where it was.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::Context;
use serde_json::{Value, json};

/// Named figures of one measurement.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The file, and all of its rows.
#[derive(Debug)]
pub(crate) struct Rows {
    file: File,
    rows: BTreeMap<String, Figures>,
}

impl Rows {
    /// Opens `path`. Rows in it count when they were measured of the same thing, which `run` describes; a file about
    /// something else is put aside.
    pub(crate) fn open(path: &Path, run: &Value) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines().map(serde_json::from_str::<Value>);
        let same = lines.next().is_some_and(|first| first.is_ok_and(|first| first == *run));
        let mut rows = BTreeMap::new();
        if same {
            // The last line may have been cut off.
            for row in lines.map_while(Result::ok) {
                if let Some((key, figures)) = read(&row) {
                    rows.insert(key, figures);
                }
            }
            println!("{} measurements are there already, in {}", rows.len(), path.display());
        } else if !text.is_empty() {
            fs::rename(path, path.with_extension("previous.jsonl"))?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        if !same {
            writeln!(file, "{run}")?;
        } else if !text.ends_with('\n') {
            writeln!(file)?;
        }
        Ok(Self { file, rows })
    }

    /// What is in a file of rows, and the run it is about.
    pub(crate) fn existing(path: &Path) -> anyhow::Result<(Value, Self)> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("nothing was measured yet: {} is not there", path.display()))?;
        let run = text.lines().next().context("an empty file of rows")?;
        let run = serde_json::from_str(run).context("the first row is not understood")?;
        let rows = Self::open(path, &run)?;
        Ok((run, rows))
    }

    /// The names that come behind `prefix/` in keys, each once: nginx, HAProxy, Envoy, then the others.
    pub(crate) fn names(&self, prefix: &str) -> Vec<&str> {
        let prefix = format!("{prefix}/");
        let rank = |name: &str| {
            ["nginx", "HAProxy", "Envoy"].iter().position(|start| name.starts_with(start)).unwrap_or(3)
        };
        let behind = self.rows.keys().filter_map(|key| key.strip_prefix(&prefix)?.split('/').next());
        let mut names: Vec<&str> = behind.collect();
        names.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
        names.dedup();
        names
    }

    /// Whether this was measured.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.rows.contains_key(key)
    }

    /// Measures, unless that was done before.
    pub(crate) fn measure(
        &mut self,
        key: &str,
        measure: impl FnOnce() -> anyhow::Result<Figures>,
    ) -> anyhow::Result<&Figures> {
        if !self.rows.contains_key(key) {
            let figures = measure().with_context(|| key.to_owned())?;
            writeln!(self.file, "{}", json!({ "key": key, "figures": figures }))?;
            self.rows.insert(key.to_owned(), figures);
        }
        self.rows.get(key).context("a row that is not there")
    }

    /// One measurement.
    pub(crate) fn one(&self, key: &str) -> Option<&Figures> {
        self.rows.get(key)
    }

    /// A figure of all rounds of a measurement, which is to say of all keys below `key`.
    pub(crate) fn rounds(&self, key: &str, figure: &str) -> Spread {
        let prefix = format!("{key}/");
        let rows = self.rows.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        Spread::of(rows.filter_map(|(_, figures)| figures.get(figure).copied()).collect())
    }
}

fn read(row: &Value) -> Option<(String, Figures)> {
    let figures = row.get("figures")?.as_object()?;
    let figures = figures.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
    Some((row.get("key")?.as_str()?.to_owned(), figures.collect()))
}

/// Median, smallest and largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of these; not a number where there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self { median, least: at(0), most: at(values.len().wrapping_sub(1)) }
    }

    /// Whether anything was measured.
    pub(crate) fn is_there(self) -> bool {
        self.median.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_where_it_was_and_another_one_begins_anew() {
        let folder = std::env::temp_dir().join(format!("rows-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("rows.jsonl");
        let run = json!({ "revision": "a" });
        let one = |value: f64| Figures::from([("x".to_owned(), value)]);
        let mut rows = Rows::open(&path, &run).unwrap();
        rows.measure("closed/a/0", || Ok(one(1.0))).unwrap();
        rows.measure("closed/a/1", || Ok(one(4.0))).unwrap();
        rows.measure("closed/ab/0", || Ok(one(9.0))).unwrap();
        assert!(rows.measure("closed/b/0", || anyhow::bail!("interrupted")).is_err());
        drop(rows);
        let mut rows = Rows::open(&path, &run).unwrap();
        assert!(rows.has("closed/a/1") && !rows.has("closed/b/0"));
        rows.measure("closed/a/1", || anyhow::bail!("it is there")).unwrap();
        assert_eq!(rows.rounds("closed/a", "x"), Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert!(!rows.rounds("closed/a", "y").is_there());
        assert!(!Rows::open(&path, &json!({ "revision": "b" })).unwrap().has("closed/a/1"));
        fs::remove_dir_all(folder).unwrap();
    }
}
