//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// An API gateway that does OpenID Connect in the request path, and an identity provider, in one binary.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything on one machine: gateway, Admin API, identity provider with a demo tenant, echo upstream.
    Dev(Dev),
    /// Production: what the configuration file says and nothing else.
    Run(ConfigFile),
    /// Says whether a configuration file, and what it points to, would load.
    Check(ConfigFile),
    /// Tenants of the identity provider as directories of Auth0's deploy CLI.
    #[command(subcommand)]
    Tenant(Tenant),
    /// Seals every stored secret again with the first key of the keyring, so that its other keys can be removed. Beside
    /// running processes, once all of them have been started with that keyring.
    Reseal(ConfigFile),
    /// Verifies or decrypts a token with the code the gateway uses.
    #[command(subcommand)]
    Jose(Jose),
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Folder that keeps the state.
    #[arg(long, value_name = "DIR", default_value = ".portcullis")]
    pub(crate) dir: PathBuf,
    /// Added to every port, so that several can run side by side.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=56_000))]
    pub(crate) port_offset: u16,
    /// Lets `POST /dev/clock` move the clock of the process.
    #[arg(long)]
    pub(crate) test_clock: bool,
    /// Brings the demo tenant to what this directory of Auth0's deploy CLI (`tenant.yaml`) says.
    #[arg(long, value_name = "DIR")]
    pub(crate) tenant: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Writes a tenant to a directory, without ids and secrets.
    Export(TenantExport),
}

#[derive(Debug, Args)]
pub(crate) struct TenantExport {
    /// The configuration file whose database the tenant is in.
    #[arg(long, value_name = "FILE", conflicts_with = "dir", required_unless_present = "dir")]
    pub(crate) config: Option<PathBuf>,
    /// The folder of `portcullis dev` whose database the tenant is in.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The tenant's name, where there are several.
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// The directory to write `tenant.yaml` to.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Replaces the file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Jose {
    /// Verifies one compact JWS, read from standard input.
    Verify {
        /// A JWK or a JWKS.
        #[arg(long, value_name = "FILE")]
        jwk: PathBuf,
        /// The algorithm that is expected.
        #[arg(long, value_name = "A")]
        alg: Option<String>,
    },
    /// Decrypts one compact JWE, read from standard input.
    Decrypt {
        /// A JWK or a JWKS.
        #[arg(long, value_name = "FILE")]
        jwk: PathBuf,
        /// The key management algorithm that is expected.
        #[arg(long, value_name = "A")]
        alg: Option<String>,
        /// The content encryption algorithm that is expected.
        #[arg(long, value_name = "E")]
        enc: Option<String>,
    },
}
