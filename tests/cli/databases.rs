//! Databases that a configuration file names wrongly: `check` and `run` say so, and nothing is spoilt.

use std::{fs, path::Path};

use loopback::Reserved;

use super::{portcullis, support::Portcullis, text};

/// Asserts that `check` and `run` both refuse the configuration in `folder` at `place` for `reason`.
#[track_caller]
fn refused(folder: &Path, key: &str, place: &str, reason: &str) {
    for command in ["check", "run"] {
        let output = portcullis()
            .args([command, "--config", "other.yaml"])
            .current_dir(folder)
            .env("ADMIN_KEY", key)
            .output()
            .unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {errors}");
        let found = errors.lines().any(|line| line.starts_with(place) && line.contains(reason));
        assert!(found, "{command}: expected {place} {reason} in {errors}");
        assert!(!errors.contains("canary"), "{errors}");
    }
}

#[test]
fn databases_in_each_others_place_are_refused_and_left_as_they_are() {
    let gate = Portcullis::dev();
    let (key, folder) = (gate.variable("ADMIN_KEY"), gate.state());
    assert!(gate.terminate().success());
    let sound = fs::read_to_string(folder.join("portcullis.yaml")).unwrap();
    let line = |yaml: &str, start: &str| {
        yaml.lines().position(|line| line.trim_start().starts_with(start)).unwrap() + 1
    };
    let (store, database) = (line(&sound, "store:"), line(&sound, "database:"));

    let one = sound.replace("identity.db", "gateway.db");
    fs::write(folder.join("other.yaml"), one).unwrap();
    refused(&folder, &key, &format!("other.yaml:{database}:"), "is the file of `store.sqlite`");

    let fresh = sound.replace("store: {sqlite: gateway.db}", "store: {sqlite: fresh.db}");
    fs::write(folder.join("other.yaml"), fresh.replace("identity.db", "gateway.db")).unwrap();
    refused(&folder, &key, &format!("other.yaml:{database}:"), "is the gateway's configuration store");

    let fresh = sound.replace("identity.db", "fresh-identity.db");
    fs::write(folder.join("other.yaml"), fresh.replace("sqlite: gateway.db", "sqlite: identity.db")).unwrap();
    refused(&folder, &key, &format!("other.yaml:{store}:"), "is an identity database");

    gate.restart();
    assert_eq!(gate.variable("ADMIN_KEY"), key);
}

#[test]
fn a_postgresql_server_that_is_not_there_is_named_with_its_place() {
    let gate = Portcullis::dev();
    let (key, folder) = (gate.variable("ADMIN_KEY"), gate.state());
    assert!(gate.terminate().success());
    let sound = fs::read_to_string(folder.join("portcullis.yaml")).unwrap();
    let reserved = Reserved::any().unwrap();
    let port = reserved.port();
    let url = format!("postgres: \"postgres://user:canary@127.0.0.1:{port}/identities\"");
    let yaml = sound.replace("sqlite: identity.db", &url);
    fs::write(folder.join("other.yaml"), &yaml).unwrap();
    let line = yaml.lines().position(|line| line.contains("canary")).unwrap() + 1;
    refused(&folder, &key, &format!("other.yaml:{line}:"), "`identity.database.postgres`");
}
