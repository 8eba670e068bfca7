//! The project's own commands: `cargo xtask test`, `install`, `bench`, `profile`, `soak` and `fuzz`.

mod bench;
mod fuzz;
mod house;
mod packages;
mod run;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test             install what the tests need, then run every check and test
cargo xtask install          install what the tests need, and run nothing: then `cargo test --all-features` runs any of them
cargo xtask bench [--quick] [--fresh]
                             measure side by side with nginx, HAProxy and Envoy; writes docs/benchmarks.md. A run that was
                             interrupted goes on where it was, unless it is to begin afresh
cargo xtask bench --only SCENARIO,... [--quick] [--binary PORTCULLIS] [--against PORTCULLIS]
                             measure some scenarios, and perhaps another build beside this one; writes nothing
cargo xtask bench --provider [--quick] [--binary PORTCULLIS]
                             the identity provider alone, beside oidc-provider; writes nothing
cargo xtask bench --report   write docs/benchmarks.md again, from what was measured
cargo xtask bench --scale    100,000 routes and consumers, 10,000 certificates; writes docs/benchmarks-scale.md
cargo xtask profile          record what the gateway executes under load, for which release builds are optimised; writes
                             .cargo/release.profdata
cargo xtask soak [--minutes N]
                             half an hour of mixed traffic while the configuration changes: no request fails, memory does not
                             grow; writes docs/benchmarks-soak.md
cargo xtask fuzz --seconds N [--seed S] [TARGET]
                             run each fuzzer, or one, for N seconds: requests, answers, cookie, callback, discovery,
                             jwks, introspection, token, dpop, jwe, claim_schema, yaml
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Err(error) = run::open_many_files() {
        eprintln!("xtask: {error:#}");
        return ExitCode::FAILURE;
    }
    let done = match words.as_slice() {
        ["test"] => run::test(),
        ["install"] => run::install(),
        ["bench", words @ ..] => bench::run(words),
        ["profile"] => bench::profile::run(),
        ["soak", words @ ..] => bench::soak::run(words),
        ["fuzz", words @ ..] => fuzz::run(words),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
