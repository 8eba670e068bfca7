//! Budgets of building blocks: how many instructions and allocations a piece of the request path may take. Both are
//! counted, not timed, so they do not depend on how busy the machine is.
//!
//! The blocks live in the unit tests of their crates, which see what is private there and are built anyway: a program of
//! their own would have to be linked, and a build for release would take longer than all the tests. So the instructions
//! are those of a build for tests, several times those of a release; a limit says that a block does not do more than it
//! did, not what it costs. Cryptography and everything else that is assembly costs the same in both.
//!
//! A test calls [`check`]. It starts the test program again, in which the same test finds [`CHILD`] set and runs the
//! blocks alone: once as it is, for the allocations, and once under valgrind's callgrind, for the instructions. Making a
//! hundred thousand routes would take callgrind a minute, so it begins to look only when every block is prepared, and
//! then counts in [`measured`] alone.

#![allow(clippy::expect_used, clippy::panic, reason = "only tests use it, and a test fails by panicking")]

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use allocations::allocated;

/// Set in a process that runs the blocks: where it writes down what it counts.
const CHILD: &str = "PORTCULLIS_BUDGETS_FOLDER";
/// Set too when valgrind runs it.
const UNDER_VALGRIND: &str = "PORTCULLIS_BUDGETS_VALGRIND";
const ALLOCATIONS: &str = "allocations";
/// The function in which valgrind counts.
const COUNTED: &str = "budgets::measured";
/// Times that a block runs before it counts: what is made once is made.
const WARM_UP: u64 = 3;

/// A building block with what it may take.
pub struct Block {
    /// What it is.
    pub name: &'static str,
    /// Instructions each time, at most.
    pub instructions: u64,
    /// Allocations each time, at most.
    pub allocations: f64,
    /// How often it runs.
    pub times: u64,
    /// Makes what it needs, and what is counted.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// Fails when a block takes more than it may. `test` is the name of the calling test in its program, whose
/// `#[global_allocator]` has to be [`allocations::Counting`].
///
/// Without valgrind, which `cargo xtask test` installs, only allocations are checked.
pub fn check(test: &str, blocks: &[Block]) {
    if let Some(folder) = env::var_os(CHILD) {
        return run(Path::new(&folder), blocks);
    }
    let folder = env::temp_dir().join(format!("budgets-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for what is counted");
    child(Command::new(env::current_exe().expect("the test program")), test, &folder);
    let mut faults = allocations_above(blocks, &folder);
    if Command::new("valgrind").arg("--version").output().is_ok() {
        let mut counted = instructions_of_all(blocks, test, &folder);
        // In one of about fifty runs a block of 200 times had 85,000 instructions that no other run had: something is done
        // once now and then. A second count tells it from a block that does more.
        if blocks.iter().zip(&counted).any(|(block, taken)| *taken > block.instructions) {
            let again = instructions_of_all(blocks, test, &folder);
            counted.iter_mut().zip(again).for_each(|(taken, again)| *taken = again.min(*taken));
        }
        faults.extend(instructions_off(blocks, &counted));
    } else {
        println!("instructions are not counted: valgrind is not installed");
    }
    let _ = fs::remove_dir_all(&folder);
    assert!(faults.is_empty(), "budgets:\n{}", faults.join("\n"));
}

/// What becomes of the calling test in a process of its own.
fn child(mut command: Command, test: &str, folder: &Path) {
    let command = command.args(["--exact", test, "--test-threads=1"]).env(CHILD, folder);
    let output = command.output().expect("the test program starts again");
    let said = String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    assert!(output.status.success(), "the blocks failed: {said}");
}

fn allocations_above(blocks: &[Block], folder: &Path) -> Vec<String> {
    let counted = fs::read_to_string(folder.join(ALLOCATIONS)).expect("what the child counted");
    assert_eq!(counted.lines().count(), blocks.len());
    let above = |(block, taken): (&Block, &str)| {
        let taken: f64 = taken.parse().expect("a number");
        println!("{}: {taken:.2} allocations", block.name);
        (taken > block.allocations)
            .then(|| format!("{}: {taken:.2} allocations of {:.2}", block.name, block.allocations))
    };
    blocks.iter().zip(counted.lines()).filter_map(above).collect()
}

/// What valgrind counts of each block, each time.
fn instructions_of_all(blocks: &[Block], test: &str, folder: &Path) -> Vec<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "--read-inline-info=no"])
        .arg("--quiet")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", folder.join("out").display()))
        .arg(env::current_exe().expect("the test program"))
        .env(UNDER_VALGRIND, "1");
    child(valgrind, test, folder);
    blocks.iter().enumerate().map(|(place, block)| instructions(folder, place + 1) / block.times).collect()
}

fn instructions_off(blocks: &[Block], counted: &[u64]) -> Vec<String> {
    let off = |(block, taken): (&Block, &u64)| {
        println!("{}: {taken} instructions", block.name);
        // A limit far above what is needed lets every regression pass.
        let remedy = match () {
            () if *taken > block.instructions => "too many",
            () if taken * 3 <= block.instructions => "lower the limit",
            () => return None,
        };
        Some(format!("{}: {taken} instructions of {}: {remedy}", block.name, block.instructions))
    };
    blocks.iter().zip(counted).filter_map(off).collect()
}

/// Prepares the blocks, then runs them one after another and writes down their allocations.
fn run(folder: &Path, blocks: &[Block]) {
    let mut prepared: Vec<_> = blocks.iter().map(|block| (block, (block.prepare)())).collect();
    for (_, work) in &mut prepared {
        (0..WARM_UP).for_each(|_| work());
    }
    let instructions = env::var_os(UNDER_VALGRIND).is_some();
    if instructions {
        begin_to_look();
    }
    let mut counted = String::new();
    for (block, work) in &mut prepared {
        let before = allocated();
        measured(&mut **work, block.times);
        let after = allocated();
        #[allow(clippy::cast_precision_loss)] // both are small
        let each = (after.allocations - before.allocations) as f64 / block.times as f64;
        counted += &format!("{each}\n");
    }
    // Giving a hundred thousand routes back takes longer than what is measured.
    std::mem::forget(prepared);
    if !instructions {
        fs::write(folder.join(ALLOCATIONS), counted).expect("a place to write to");
    }
}

/// Has callgrind instrument what this process does from now on.
fn begin_to_look() {
    let mut control = Command::new("callgrind_control")
        .args(["--instr=on", &std::process::id().to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("callgrind_control, which comes with valgrind");
    // Valgrind looks for such wishes while the process computes; one that sleeps has to be traced, which not every
    // machine allows.
    let status = loop {
        if let Some(status) = control.try_wait().expect("a child") {
            break status;
        }
        std::hint::spin_loop();
    };
    assert!(status.success(), "callgrind_control failed: {status}");
}

#[inline(never)]
fn measured(work: &mut dyn FnMut(), times: u64) {
    for _ in 0..times {
        work();
    }
}

/// The sum in the file that valgrind wrote after the call of that number.
fn instructions(folder: &Path, number: usize) -> u64 {
    let file = folder.join(format!("out.{number}"));
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let line = text.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
    line.and_then(|sum| sum.trim().parse().ok()).unwrap_or_else(|| panic!("no sum in {}", file.display()))
}
