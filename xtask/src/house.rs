//! The house's rules that no compiler checks: which crate may know which, and under which licences others' code comes.

#![cfg_attr(test, allow(clippy::indexing_slicing))] // JSON members that are absent read as null

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        process::Command,
    };

    use serde_json::Value;

    /// Each crate of the house, and those it may import. All arrows point down.
    const ARROWS: &[(&str, &[&str])] = &[
        // Ground floor: no I/O.
        ("base", &[]),
        ("jose", &["base"]),
        ("oauth", &["base", "jose"]),
        ("expr", &[]),
        // Benchmarks only.
        ("allocations", &[]),
        ("budgets", &["allocations"]),
        ("load", &[]),
        // Tests only.
        ("loopback", &[]),
        // First floor: the engine and its parts.
        ("gateway", &["base", "expr"]),
        ("fetch", &["base"]),
        ("rp", &["base", "jose", "oauth", "fetch"]),
        ("plugins", &["base", "jose", "oauth", "expr", "fetch", "rp", "gateway"]),
        ("store", &["base"]),
        // Second floor: dialects and the identity provider.
        ("apisix", &["base", "jose", "expr", "gateway", "fetch", "rp", "plugins", "store"]),
        ("kong", &["base", "jose", "expr", "gateway", "rp", "plugins", "store"]),
        ("idp", &["base", "jose", "oauth"]),
        ("idp-store", &["base", "oauth", "idp"]),
        ("idp-web", &["base", "jose", "oauth", "idp"]),
    ];

    /// The binary knows all of them; the tasks none.
    const FREE: &[&str] = &["portcullis", "xtask"];

    /// What the engine and the domain must never see, however useful.
    const FORBIDDEN: &[(&str, &[&str])] = &[
        ("gateway", &["axum", "sqlx", "tower"]),
        ("idp", &["axum", "sqlx", "hyper", "tower"]),
        ("base", &["tokio"]),
        ("jose", &["tokio"]),
        ("oauth", &["tokio"]),
        ("expr", &["tokio"]),
    ];

    const LICENCES: &[&str] = &[
        "Apache-2.0",
        "MIT",
        "MIT-0",
        "ISC",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "0BSD",
        "Zlib",
        "Unicode-3.0",
        "CC0-1.0",
        "MPL-2.0",
        "CDLA-Permissive-2.0",
        "Unlicense",
        "BSL-1.0",
        "OpenSSL",
    ];

    fn metadata() -> Value {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo).args(["metadata", "--format-version", "1"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn text<'a>(value: &'a Value, member: &str) -> &'a str {
        value[member].as_str().unwrap_or_default()
    }

    /// The normal dependencies of each crate of the house.
    fn imports(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
        let of = |package: &Value| {
            package["dependencies"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| text(dependency, "name").to_owned())
                .collect()
        };
        metadata["packages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|package| package["source"].is_null())
            .map(|package| (text(package, "name").to_owned(), of(package)))
            .collect()
    }

    #[test]
    fn arrows_between_crates_point_down_only() {
        let imports = imports(&metadata());
        let house: BTreeSet<&str> = imports.keys().map(String::as_str).collect();
        let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
        for (name, imported) in &imports {
            if FREE.contains(&name.as_str()) {
                continue;
            }
            let allowed =
                allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no place in the house"));
            for other in imported.iter().filter(|other| house.contains(other.as_str())) {
                assert!(allowed.contains(&other.as_str()), "{name} must not import {other}");
            }
        }
        for (name, forbidden) in FORBIDDEN {
            for other in *forbidden {
                assert!(!imports[*name].contains(*other), "{name} must not import {other}");
            }
        }
    }

    #[test]
    fn s11_every_dependency_comes_under_a_licence_we_may_use() {
        let metadata = metadata();
        for package in metadata["packages"].as_array().unwrap() {
            let licence = text(package, "license").replace('/', " OR ");
            // One of the alternatives must be made of allowed licences only.
            let allowed = licence.split(" OR ").any(|choice| {
                choice
                    .trim_matches(['(', ')', ' '])
                    .split(" AND ")
                    .map(|part| part.trim_matches(['(', ')', ' ']).split(" WITH ").next().unwrap_or_default())
                    .all(|part| LICENCES.contains(&part))
            });
            assert!(allowed, "{} comes under `{licence}`", text(package, "name"));
        }
    }

    #[test]
    fn there_is_one_crypto_provider() {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["tree", "--package", "portcullis", "--edges", "normal", "--prefix", "none"])
            .output()
            .unwrap();
        let tree = String::from_utf8(output.stdout).unwrap();
        for name in ["ring v", "openssl v", "openssl-sys v", "native-tls v"] {
            assert!(!tree.lines().any(|line| line.starts_with(name)), "{name} is in the binary");
        }
    }
}
