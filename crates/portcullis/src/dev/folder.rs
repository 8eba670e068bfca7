//! The folder in which `dev` keeps its state: one process at a time, nobody else may look in.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use base::{Keyring, Random, Secret};

/// The folder, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder, making it with mode 0700 where it is missing.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make {shown}"))?;
        fs::set_permissions(path, Permissions::from_mode(0o700))
            .with_context(|| format!("cannot close off {shown}"))?;
        let path = fs::canonicalize(path).with_context(|| format!("cannot open {shown}"))?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.with_context(|| format!("cannot open {shown}/lock"))?;
        if lock.try_lock().is_err() {
            bail!("{shown} is in use by another process; stop it, or choose another folder with --dir");
        }
        Ok(Self { path, _lock: lock })
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.path
    }

    /// Path of `name` in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that anybody who gets into the folder may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        self.replace(name, text, 0o644)
    }

    /// Writes a file with mode 0600.
    pub(crate) fn write_secret(&self, name: &str, text: &str) -> anyhow::Result<()> {
        self.replace(name, text, 0o600)
    }

    /// What a file holds; `None` where there is none.
    pub(crate) fn read(&self, name: &str) -> anyhow::Result<Option<Secret<String>>> {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.path(name).display())),
        }
    }

    /// A file is either the old one or the new one, also after a crash in between.
    fn replace(&self, name: &str, text: &str, mode: u32) -> anyhow::Result<()> {
        let path = self.path(name);
        let new = self.path(&format!("{name}.new"));
        let write = || -> std::io::Result<()> {
            // A leftover of a crash would keep its own mode.
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Makes the keyring `keys` where there is none yet.
    pub(crate) fn ensure_keyring(&self, random: &Random) -> anyhow::Result<()> {
        if !self.path("keys").exists() {
            self.write_secret("keys", &Keyring::generate(random).to_text())?;
        }
        Ok(())
    }

    /// The key of the Admin API: `given`, or the one made at first start.
    pub(crate) fn admin_key(&self, given: Option<String>, random: &Random) -> anyhow::Result<Secret<String>> {
        if let Some(key) = given {
            return Ok(Secret::new(key));
        }
        if let Some(kept) = self.read("admin.key")? {
            return Ok(Secret::new(kept.expose().trim().to_owned()));
        }
        let key = random.hex(16);
        self.write_secret("admin.key", &format!("{key}\n"))?;
        Ok(Secret::new(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_closed_to_others_and_to_a_second_process() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert!(Folder::open(&path).unwrap_err().to_string().contains("--dir"));
        folder.write_secret("secret", "canary").unwrap();
        assert_eq!(mode(&folder.path("secret")), 0o600);
        drop(folder);
        assert!(Folder::open(&path).is_ok());
    }

    #[test]
    fn keys_are_made_once() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let random = Random::system();
        let key = folder.admin_key(None, &random).unwrap();
        assert_eq!(key.expose().len(), 32);
        assert!(folder.admin_key(None, &random).unwrap() == key);
        folder.ensure_keyring(&random).unwrap();
        let first = folder.read("keys").unwrap().unwrap();
        folder.ensure_keyring(&random).unwrap();
        assert!(folder.read("keys").unwrap().unwrap() == first);
    }
}
