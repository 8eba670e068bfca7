//! What the documentation points to is there: files behind links, and the tests that `docs/security.md` names.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The folder of the project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All files below a folder whose name ends so.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

/// The names of all functions of the project.
fn functions() -> BTreeSet<String> {
    let mut sources = Vec::new();
    for folder in ["crates", "tests", "xtask"] {
        files(&root().join(folder), ".rs", &mut sources);
    }
    let mut names = BTreeSet::new();
    for source in sources {
        let text = fs::read_to_string(source).unwrap();
        for (_, rest) in text.match_indices("fn ").map(|(at, found)| text.split_at(at + found.len())) {
            names.extend(
                rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                    .next()
                    .map(str::to_owned),
            );
        }
    }
    names
}

#[test]
fn every_row_of_the_security_table_has_its_tests_or_says_why_not() {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let functions = functions();
    let mut rows = 0;
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", row, _, told @ .., tests, ""] = cells.as_slice() else { continue };
        if !row.ends_with(|letter: char| letter.is_ascii_digit()) {
            continue;
        }
        rows += 1;
        let is_told = matches!(told, [cases, result] if !cases.is_empty() && !result.is_empty());
        assert!(is_told, "{row} does not say what is tried and what comes of it");
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        let gone: Vec<&&str> = names.iter().filter(|name| !functions.contains(**name)).collect();
        assert!(gone.is_empty(), "{row}: there is no test {gone:?}");
        assert!(!tests.is_empty(), "{row} has neither a test nor a reason");
        let id = row.to_lowercase();
        let elsewhere = names.iter().find(|name| !name.contains(&id) && !name.contains("_to_"));
        assert!(elsewhere.is_none(), "{row}: {elsewhere:?} does not carry its number");
    }
    assert_eq!(rows, 247, "rows of the groups T, J, H, A, S, R and O");
}

/// The tests of the project, each with its text; of one name there may be several.
fn tests() -> BTreeMap<String, String> {
    let mut sources = Vec::new();
    for folder in ["crates", "tests"] {
        files(&root().join(folder), ".rs", &mut sources);
    }
    let mut found = BTreeMap::new();
    for source in sources {
        let text = fs::read_to_string(source).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let rest = line.trim_start();
            if !(rest.starts_with("#[test]") || rest.starts_with("#[tokio::test")) {
                continue;
            }
            let end = format!("{}}}", &line[..line.len() - rest.len()]);
            let body: Vec<&str> = lines.by_ref().take_while(|line| **line != end).collect();
            let name = body.iter().find_map(|line| line.split_once("fn ")?.1.split('(').next());
            let text: &mut String = found.entry(name.unwrap_or_default().to_owned()).or_default();
            text.push_str(&body.join("\n"));
        }
    }
    found
}

#[test]
fn every_attribute_of_openid_connect_has_a_test_that_is_about_it() {
    let page = fs::read_to_string(root().join("docs/plugins/openid-connect.md")).unwrap();
    let tests = tests();
    let (_, table) = page.split_once("| attribute | type | default | meaning | test |\n").unwrap();
    let mut attributes = 0;
    for line in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let code: Vec<&str> = line.split('`').collect();
        let (attribute, test) = (code[1], code[code.len() - 2]);
        attributes += 1;
        let text = tests.get(test).unwrap_or_else(|| panic!("{attribute}: there is no test {test}"));
        let name = attribute.rsplit('.').next().unwrap();
        assert!(text.contains(name), "{attribute}: {test} does not mention it");
    }
    assert!(attributes > 140, "{attributes} rows");
}

#[test]
fn links_lead_to_files() {
    let mut documents = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    files(&root().join("docs"), ".md", &mut documents);
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            let (target, _) = target.split_once('#').unwrap_or((target, ""));
            let is_file = !target.is_empty() && !target.contains("://");
            let there = document.parent().unwrap().join(target);
            assert!(!is_file || there.exists(), "{}: {target} is not there", document.display());
        }
    }
}
