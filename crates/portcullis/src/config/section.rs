//! Reads values out of the tree, collecting every problem instead of stopping at the first.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use base::Secret;
use ipnet::IpNet;

use super::tree::{Entry, Kind, Mark, Node, Problem, problem, shown};

/// A value with its place, for checks that come after reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) mark: Mark,
    pub(crate) value: T,
}

/// Everything wrong that was found so far, and the folder that relative paths in the file start from.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    pub(crate) folder: PathBuf,
}

impl Findings {
    pub(crate) fn add(&mut self, mark: Mark, reason: impl Into<String>) {
        self.problems.push(problem(mark, reason));
    }
}

/// A mapping whose keys are known.
pub(crate) struct Section<'n> {
    mark: Mark,
    path: String,
    entries: &'n [Entry],
}

impl<'n> Section<'n> {
    /// Opens `node`, naming every key that is not among `known`.
    pub(crate) fn open(node: &'n Node, path: &str, known: &[&str], findings: &mut Findings) -> Option<Self> {
        let entries = match &node.kind {
            Kind::Mapping(entries) => entries.as_slice(),
            _ => {
                let name = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
                findings
                    .add(node.mark, format!("{name} must be a mapping with the keys {}", known.join(", ")));
                return None;
            }
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
            let known = known.join(", ");
            findings.add(entry.mark, format!("unknown key {}{place}; known are {known}", shown(&entry.key)));
        }
        Some(Self { mark: node.mark, path: path.to_owned(), entries })
    }

    /// Where the section begins.
    pub(crate) const fn mark(&self) -> Mark {
        self.mark
    }

    /// The value of `key`, unless it is absent or null.
    pub(crate) fn node(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!matches!(entry.value.kind, Kind::Null)).then_some(&entry.value)
    }

    /// The section under `key`.
    pub(crate) fn section(&self, key: &str, known: &[&str], findings: &mut Findings) -> Option<Self> {
        Self::open(self.node(key)?, &self.path_of(key), known, findings)
    }

    /// A value that may be absent.
    pub(crate) fn optional<T: Read>(&self, key: &str, findings: &mut Findings) -> Option<At<T>> {
        read(self.node(key)?, &self.path_of(key), findings)
    }

    /// A value that has a default.
    pub(crate) fn value<T: Read>(&self, key: &str, default: T, findings: &mut Findings) -> T {
        self.optional(key, findings).map_or(default, |at| at.value)
    }

    /// A value that must be there.
    pub(crate) fn required<T: Read>(&self, key: &str, findings: &mut Findings) -> Option<At<T>> {
        let Some(node) = self.node(key) else {
            findings.add(self.mark, format!("`{}` is missing; it is {}", self.path_of(key), T::EXPECTED));
            return None;
        };
        read(node, &self.path_of(key), findings)
    }

    /// The items of a list; none when it is absent.
    pub(crate) fn items(&self, key: &str, findings: &mut Findings) -> &'n [Node] {
        match self.node(key).map(|node| (node, &node.kind)) {
            None => &[],
            Some((_, Kind::Sequence(items))) => items,
            Some((node, _)) => {
                findings.add(node.mark, format!("`{}` must be a list", self.path_of(key)));
                &[]
            }
        }
    }

    /// The items of a list of plain values.
    pub(crate) fn list<T: Read>(&self, key: &str, findings: &mut Findings) -> Vec<At<T>> {
        let path = self.path_of(key);
        self.items(key, findings).iter().filter_map(|node| read(node, &path, findings)).collect()
    }

    /// Says that `key` is not built yet, where it is used.
    pub(crate) fn refuse(&self, key: &str, instead: &str, findings: &mut Findings) {
        if let Some(node) = self.node(key) {
            findings.add(
                node.mark,
                format!("`{}` is not supported by this version; {instead}", self.path_of(key)),
            );
        }
    }

    /// Name of `key` from the top of the file.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A value that is written as one plain word.
pub(crate) trait Read: Sized {
    /// What it looks like, for messages: "an address and port such as 127.0.0.1:9080".
    const EXPECTED: &'static str;

    /// The value, unless `text` is none.
    fn read(text: &str, folder: &Path) -> Option<Self>;
}

fn read<T: Read>(node: &Node, path: &str, findings: &mut Findings) -> Option<At<T>> {
    let value = match &node.kind {
        Kind::Text { text, .. } => T::read(text.expose(), &findings.folder),
        _ => None,
    };
    if value.is_none() {
        findings.add(node.mark, format!("`{path}` must be {}", T::EXPECTED));
    }
    value.map(|value| At { mark: node.mark, value })
}

impl Read for SocketAddr {
    const EXPECTED: &'static str = "an address and port such as 127.0.0.1:9080 or [::1]:9080";

    fn read(text: &str, _: &Path) -> Option<Self> {
        match text.strip_prefix("localhost:") {
            Some(port) => Some(Self::from(([127, 0, 0, 1], port.parse().ok()?))),
            None => text.parse().ok(),
        }
    }
}

impl Read for IpNet {
    const EXPECTED: &'static str = "an address or network such as 10.0.0.0/8";

    fn read(text: &str, _: &Path) -> Option<Self> {
        text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(Self::from))
    }
}

impl Read for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str, _: &Path) -> Option<Self> {
        text.parse().ok()
    }
}

impl Read for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn read(text: &str, _: &Path) -> Option<Self> {
        text.parse().ok()
    }
}

impl Read for usize {
    const EXPECTED: &'static str = "a whole number";

    fn read(text: &str, _: &Path) -> Option<Self> {
        text.parse().ok()
    }
}

impl Read for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(text: &str, folder: &Path) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| folder.join(text))
    }
}

impl Read for String {
    const EXPECTED: &'static str = "a text that is not empty";

    fn read(text: &str, _: &Path) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Read for Secret<String> {
    const EXPECTED: &'static str = "a text, best given as ${NAME} from the environment";

    fn read(text: &str, _: &Path) -> Option<Self> {
        Some(Self::new(text.to_owned()))
    }
}

impl Read for Duration {
    const EXPECTED: &'static str = "a duration such as 500ms, 30s, 5m or 1h";

    fn read(text: &str, _: &Path) -> Option<Self> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let number: u64 = digits.parse().ok()?;
        let millis = match text.get(digits.len()..)? {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(millis).map(Self::from_millis)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteCount(pub(crate) u64);

impl Read for ByteCount {
    const EXPECTED: &'static str = "a size such as 512, 64KiB or 10MiB";

    fn read(text: &str, _: &Path) -> Option<Self> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let number: u64 = digits.parse().ok()?;
        let unit = match text.get(digits.len()..)? {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(unit).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_read<T: Read>(text: &str) -> Option<T> {
        T::read(text, Path::new("/etc/portcullis"))
    }

    #[test]
    fn durations_and_sizes_need_their_unit() {
        assert_eq!(as_read::<Duration>("30s"), Some(Duration::from_secs(30)));
        assert_eq!(as_read::<Duration>("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(as_read::<Duration>("30"), None);
        assert_eq!(as_read::<Duration>("s"), None);
        assert_eq!(as_read::<Duration>("99999999999999999h"), None);
        assert_eq!(as_read::<ByteCount>("64KiB"), Some(ByteCount(65536)));
        assert_eq!(as_read::<ByteCount>("64KB"), None);
    }

    #[test]
    fn relative_paths_start_from_the_files_folder() {
        assert_eq!(as_read::<PathBuf>("keys"), Some("/etc/portcullis/keys".into()));
        assert_eq!(as_read::<PathBuf>("/keys"), Some("/keys".into()));
        assert_eq!(as_read::<PathBuf>(""), None);
    }

    #[test]
    fn addresses_need_a_port_and_localhost_is_one() {
        assert_eq!(as_read::<SocketAddr>("localhost:80"), Some(SocketAddr::from(([127, 0, 0, 1], 80))));
        assert!(as_read::<SocketAddr>("127.0.0.1").is_none());
        assert!(as_read::<SocketAddr>("example.com:80").is_none());
        assert_eq!(as_read::<IpNet>("10.1.2.3").map(|net| net.to_string()), Some("10.1.2.3/32".to_owned()));
    }
}
