/// A reference, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference<'a> {
    /// `$env://NAME`, or `$env://NAME/member` of the JSON object in it.
    Environment { name: &'a str, member: Option<&'a str> },
    /// `$secret://MANAGER/ID/PATH/KEY`.
    Manager { kind: ManagerKind, id: &'a str, path: &'a str, key: &'a str },
}

/// What holds secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManagerKind {
    Vault,
    Aws,
    Gcp,
}

impl ManagerKind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Vault, Self::Aws, Self::Gcp];

    /// As it is called below `secrets` and in references.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a path to a secret may have this letter, beside letters and digits and `-_.~`.
    const fn allows(self, letter: u8) -> bool {
        // Names and ARNs; they stand in no URL.
        matches!((self, letter), (Self::Aws, b':' | b'+' | b'=' | b'@'))
    }
}

impl<'a> Reference<'a> {
    /// `None` when `text` is none; an error when it looks like one and is not.
    pub(super) fn parse(text: &'a str) -> Option<Result<Self, String>> {
        if let Some(rest) = after(text, "$env://") {
            return Some(environment(rest));
        }
        after(text, "$secret://").map(manager)
    }

    /// The manager it asks, as it is called below `secrets`.
    pub(super) fn manager(&self) -> String {
        match self {
            Self::Environment { .. } => String::new(),
            Self::Manager { kind, id, .. } => format!("{}/{id}", kind.name()),
        }
    }
}

/// What follows a prefix in letters of either case.
fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn environment(rest: &str) -> Result<Reference<'_>, String> {
    let (name, member) = match rest.split_once('/') {
        Some((name, member)) => (name, Some(member).filter(|member| !member.is_empty())),
        None => (rest, None),
    };
    let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if good {
        Ok(Reference::Environment { name, member })
    } else {
        Err("it names no environment variable".to_owned())
    }
}

fn manager(rest: &str) -> Result<Reference<'_>, String> {
    let wanted =
        || "it is not `$secret://MANAGER/ID/PATH/KEY` of a manager `vault`, `aws` or `gcp`".to_owned();
    let (kind, rest) = rest.split_once('/').ok_or_else(wanted)?;
    let kind = ManagerKind::named(kind).ok_or_else(wanted)?;
    let (id, rest) = rest.split_once('/').ok_or_else(wanted)?;
    let (path, key) = rest.rsplit_once('/').ok_or_else(wanted)?;
    // One spelling of each path: it becomes a part of a URL.
    let allows = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kind.allows(byte);
    let plain = |segment: &str| {
        !segment.is_empty() && !segment.bytes().all(|byte| byte == b'.') && segment.bytes().all(allows)
    };
    if plain(id) && !key.is_empty() && path.split('/').all(plain) {
        Ok(Reference::Manager { kind, id, path, key })
    } else {
        Err(wanted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_one_meaning_or_none() {
        let read = |text| Reference::parse(text).unwrap();
        assert_eq!(read("$env://A_1"), Ok(Reference::Environment { name: "A_1", member: None }));
        assert_eq!(read("$Env://A/b/c"), Ok(Reference::Environment { name: "A", member: Some("b/c") }));
        let expected =
            Reference::Manager { kind: ManagerKind::Vault, id: "1", path: "kv/apps/x", key: "a key" };
        assert_eq!(read("$secret://vault/1/kv/apps/x/a key"), Ok(expected));
        assert_eq!(expected.manager(), "vault/1");
        let arn = "arn:aws:secretsmanager:us-east-1:1:secret:a/b+c=d@e-x";
        let expected = Reference::Manager { kind: ManagerKind::Aws, id: "prod", path: arn, key: "k" };
        let written = format!("$secret://aws/prod/{arn}/k");
        assert_eq!(Reference::parse(&written), Some(Ok(expected)));
        assert_eq!(
            read("$secret://gcp/2/name/k").map(|reference| reference.manager()),
            Ok("gcp/2".to_owned())
        );
        for bad in [
            "$env://",
            "$env:///a",
            "$env://A B",
            "$secret://",
            "$secret://vault",
            "$secret://vault/1/key",
            "$secret://vault//a/b",
            "$secret://vault/1/../b",
            "$secret://vault/1/a//b",
            "$secret://vault/1/a/",
            "$secret://vault/1/a?x/b",
            "$secret://vault/1/%2e%2e/b",
            "$secret://aws/1/../b",
            "$secret://gcp/1/a+b/c",
            "$secret://Vault/1/a/b",
            "$secret://nobody/1/a/b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for none in ["", "$", "env://A", " $env://A", "$env:/A", "${env://A}", "é"] {
            assert_eq!(Reference::parse(none), None, "{none}");
        }
    }
}
