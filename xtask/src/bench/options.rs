//! The words after `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::{Effort, scenario::Scenario};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Measure all, write the page.
    Everything,
    /// Some scenarios, or two builds; write nothing.
    Compare,
    /// Very many routes.
    Scale,
    /// The identity provider alone; write nothing.
    Provider,
    /// The page again, from the rows that are there.
    Report,
}

/// The words, understood.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) task: Task,
    pub(crate) effort: Effort,
    /// Forget the rows of a run that was interrupted.
    pub(crate) fresh: bool,
    only: Vec<Scenario>,
    /// The build to measure, instead of the one that is compiled.
    pub(crate) binary: Option<PathBuf>,
    /// Another build, measured in the same rounds.
    pub(crate) against: Option<PathBuf>,
}

impl Options {
    /// Reads them.
    pub(crate) fn read(words: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self {
            task: Task::Everything,
            effort: Effort::Full,
            fresh: false,
            only: Vec::new(),
            binary: None,
            against: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match *word {
                "--quick" => options.effort = Effort::Quick,
                "--fresh" => options.fresh = true,
                "--scale" => options.task = Task::Scale,
                "--provider" => options.task = Task::Provider,
                "--report" => options.task = Task::Report,
                "--only" => {
                    options.task = Task::Compare;
                    for name in value()?.split(',') {
                        let names = || Scenario::ALL.map(Scenario::name).join(", ");
                        let scenario = Scenario::named(name)
                            .with_context(|| format!("{name} is none of {}", names()))?;
                        options.only.push(scenario);
                    }
                }
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--against" => options.against = Some(PathBuf::from(value()?)),
                other => bail!("{other} is not understood; see `cargo xtask`"),
            }
        }
        let alone = options.task == Task::Provider && options.against.is_none();
        if !alone && (options.binary.is_some() || options.against.is_some()) {
            options.task = Task::Compare;
        }
        Ok(options)
    }

    /// The scenarios to measure.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        if self.only.is_empty() { Scenario::ALL.to_vec() } else { self.only.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused() {
        let options = Options::read(&["--quick", "--only", "plain,rs256-warm", "--against", "old"]).unwrap();
        assert_eq!((options.task, options.effort), (Task::Compare, Effort::Quick));
        assert_eq!(options.scenarios(), [Scenario::Plain, Scenario::Rs256Warm]);
        assert_eq!(Options::read(&[]).unwrap().scenarios().len(), Scenario::ALL.len());
        for words in [&["--only"][..], &["--only", "nothing"], &["quick"]] {
            assert!(Options::read(words).is_err(), "{words:?}");
        }
    }
}
