//! The project's own commands: `cargo xtask test`, `install`, `bench` and `fuzz`.

mod bench;
mod fuzz;
mod house;
mod packages;
mod run;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test             install what the tests need, then run every check and test
cargo xtask install          install what the tests need, and run nothing: then `cargo test --all-features` runs any of them
cargo xtask bench [--quick]  measure side by side with nginx, HAProxy and Envoy; writes docs/benchmarks.md
cargo xtask bench --scale    100,000 routes and consumers, 10,000 certificates; writes docs/benchmarks-scale.md
cargo xtask fuzz --seconds N [--seed S] [TARGET]
                             run each fuzzer, or one, for N seconds: cookie, callback, discovery, jwks, introspection,
                             token, dpop, jwe, claim_schema, yaml
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => run::test(),
        ["install"] => run::install(),
        ["bench"] => bench::run(bench::Effort::Full),
        ["bench", "--quick"] => bench::run(bench::Effort::Quick),
        ["bench", "--scale"] => bench::scale::run(),
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
