//! A file to whose end entries are written.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
};

use gateway::error::ConfigError;

/// A file, or one of the process's own streams.
#[derive(Clone, Debug)]
pub(super) enum LogFile {
    File(PathBuf),
    Stdout,
    Stderr,
}

impl LogFile {
    /// The file at `path`, which need not be there yet.
    pub(super) fn new(path: &str) -> Result<Self, ConfigError> {
        match path {
            "/dev/stdout" => return Ok(Self::Stdout),
            "/dev/stderr" => return Ok(Self::Stderr),
            _ => {}
        }
        let path = PathBuf::from(path);
        let climbs = path.components().any(|part| part == Component::ParentDir);
        if path.file_name().is_none() || climbs || path.to_string_lossy().contains('\0') {
            return Err(ConfigError::new("path", "it is not the path of a file"));
        }
        check(&path).map_err(|error| ConfigError::new("path", error.to_string()))?;
        Ok(Self::File(path))
    }

    /// Writes each entry as a line. The file is opened for each batch, so that it may be moved away at any time.
    pub(super) async fn append(&self, entries: &[Box<str>]) -> Result<(), String> {
        let mut text = String::with_capacity(entries.iter().map(|entry| entry.len() + 1).sum());
        for entry in entries {
            text.push_str(entry);
            text.push('\n');
        }
        let file = self.clone();
        let written = tokio::task::spawn_blocking(move || file.write(text.as_bytes())).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(text),
            Self::Stderr => io::stderr().lock().write_all(text),
            Self::File(path) => {
                check(path)?;
                let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path);
                file?.write_all(text)
            }
        }
    }
}

/// Who may write routes must not be able to spoil every file that the process can write: what is there already must be
/// a log, and no link to something else.
fn check(path: &Path) -> io::Result<()> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut first = [0];
    if !found.is_file() || (File::open(path)?.read(&mut first)? > 0 && first != *b"{") {
        return Err(io::Error::other("there is something else than a log of JSON lines"));
    }
    Ok(())
}
