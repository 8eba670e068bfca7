//! `portcullis dev`: everything on one machine, with its state in one folder.

mod banner;
mod certificates;
mod echo;
mod environment;
mod file;
mod folder;
mod outbox;
mod ports;

use std::{io::Write, path::PathBuf, sync::Arc};

use base::{Clock, Random, Secret};
use idp::seed::{DevCredentials, DevSeed};

use crate::{
    cli,
    config::{self, Config},
    log, process,
    serve::{Server, Transport},
    start,
    tls::{self, ClientCertificates},
};

use self::{certificates::DevCertificates, folder::Folder, outbox::Outbox, ports::Ports};

pub(crate) use self::outbox::Outbox as Mails;

/// Variable that names the admin key.
const KEY_VARIABLE: &str = "PORTCULLIS_ADMIN_KEY";

/// What `dev` adds to what its configuration file says.
#[derive(Debug)]
pub(crate) struct Dev {
    ports: Ports,
    folder: Folder,
    certificates: DevCertificates,
    key: Secret<String>,
    test_clock: bool,
    outbox: Arc<Outbox>,
    tenant: Option<PathBuf>,
}

/// Fills the folder, loads its file and runs.
pub(crate) fn run(options: &cli::Dev) -> anyhow::Result<()> {
    let (clock, random) = (Clock::system(), Random::system());
    let given = std::env::var(KEY_VARIABLE).ok();
    if let Some(Err(reason)) = given.as_deref().map(config::admin_key) {
        anyhow::bail!("the key in {KEY_VARIABLE} {reason}");
    }
    let folder = Folder::open(&options.dir)?;
    folder.ensure_keyring(&random)?;
    let certificates = DevCertificates::open(&folder, &clock)?;
    let ports = Ports::new(options.port_offset);
    let key = folder.admin_key(given, &random)?;
    folder.write("portcullis.yaml", &file::text(ports))?;
    let variables = |name: &str| (name == "ADMIN_KEY").then(|| key.expose().clone());
    let config = Config::load_with(&folder.path("portcullis.yaml"), &variables)?;
    log::start(&config.log);
    process::harden(false);
    let dev = Dev {
        ports,
        folder,
        certificates,
        key,
        test_clock: options.test_clock,
        outbox: Arc::new(Outbox::new(clock.clone())),
        tenant: options.tenant.clone(),
    };
    start::run(start::Plan { config, clock, random, revocations: Arc::default(), dev: Some(dev) })
}

impl Dev {
    /// Whether `POST /dev/clock` is served.
    pub(crate) const fn test_clock(&self) -> bool {
        self.test_clock
    }

    /// The mail that would have been sent.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The directory that the demo tenant is brought to.
    pub(crate) fn tenant(&self) -> Option<&PathBuf> {
        self.tenant.as_ref()
    }

    /// What the identity provider's demo tenant is to have.
    pub(crate) fn seed(&self, tenant: &config::Tenant) -> DevSeed {
        let port = self.ports.http();
        let at = |path: &str| format!("http://localhost:{port}{path}");
        DevSeed {
            tenant: tenant.name.clone(),
            origins: tenant.domains.clone(),
            callbacks: vec![at("/anything/callback"), at("/callback")],
            logout_urls: vec![at("/")],
        }
    }

    /// The echo upstream, also over TLS on the same port.
    pub(crate) fn echo(&self, random: &Random) -> anyhow::Result<Server> {
        let DevCertificates { chain, key, .. } = self.certificates.clone();
        let tls = tls::server(&config::Certificate { chain, key }, ClientCertificates::Unasked)?;
        let address = Ports::address(self.ports.echo());
        Server::bind("echo upstream", address, Transport::Any(tls), echo::router(random.clone()))
    }

    /// Writes `dev.env` and prints the banner.
    pub(crate) fn announce(&self, demo: &DevCredentials) -> anyhow::Result<()> {
        let environment = environment::text(self.ports, &self.key, demo, &self.certificates);
        self.folder.write_secret("dev.env", &environment)?;
        let banner = banner::text(self.ports, self.folder.root(), demo);
        // Whoever started the process may have closed its output; that is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(banner.as_bytes()).and_then(|()| out.flush());
        Ok(())
    }
}
