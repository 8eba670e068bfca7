//! A login by curl, as a browser without JavaScript does it: follow, fill in the form, follow back.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, bail};

use super::scenario::SMALL;

/// What a login takes.
#[derive(Debug)]
pub(crate) struct Login {
    /// A guarded page, whose body has [`SMALL`] bytes.
    pub(crate) page: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// Where cookies are kept meanwhile.
    pub(crate) jar: PathBuf,
}

impl Login {
    /// Logs in, and returns the `Cookie` header that opens the page from then on.
    pub(crate) fn cookie(&self) -> anyhow::Result<String> {
        let Self { page: url, user, password, jar } = self;
        let _ = fs::remove_file(jar);
        let curl = |arguments: &[&str]| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--location", "--header", "Accept: text/html"]);
            command.arg("--cookie-jar").arg(jar).arg("--cookie").arg(jar);
            command.args(["--write-out", "\n%{url_effective}"]).args(arguments);
            let output = command.output().context("cannot run curl")?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let (page, place) = text.rsplit_once('\n').context("curl printed nothing")?;
            anyhow::Ok((page.to_owned(), place.to_owned()))
        };
        let (page, place) = curl(&[url.as_str()])?;
        let state = attribute(&page, "name=\"state\" value=\"")
            .with_context(|| format!("no form at {place}: {page}"))?;
        let field = |name: &str, value: &str| format!("{name}={value}");
        let fields = [field("state", state), field("username", user), field("password", password)];
        let mut arguments: Vec<&str> = fields.iter().flat_map(|field| ["--data-urlencode", field]).collect();
        arguments.push(&place);
        let (page, place) = curl(&arguments)?;
        if page.len() != SMALL {
            bail!("the login ends at {place}: {page}");
        }
        // Netscape's format: domain, subdomains, path, secure, expiry, name, value. Lines of HttpOnly cookies begin with `#`.
        let jar = fs::read_to_string(jar)?;
        let cookies: Vec<String> = jar
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .filter_map(|fields| match fields.as_slice() {
                [_, _, _, _, _, name, value] if name.starts_with("session") => {
                    Some(format!("{name}={value}"))
                }
                _ => None,
            })
            .collect();
        if cookies.is_empty() {
            bail!("the login left no session cookie");
        }
        Ok(format!("Cookie: {}", cookies.join("; ")))
    }
}

/// The value that begins behind `start`.
fn attribute<'a>(page: &'a str, start: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(start)?;
    Some(rest.split_once('"')?.0)
}
