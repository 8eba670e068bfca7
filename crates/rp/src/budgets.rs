//! What a known caller may take.

use std::hint::black_box;

use allocations::Counting;
use budgets::{Block, check};

use crate::{
    bearer::{CoreCache, VerdictKey, Weigh},
    session::opened_cookie,
};

#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

#[test]
fn blocks_keep_to_their_budgets() {
    check(
        "budgets::blocks_keep_to_their_budgets",
        &[
            Block {
                name: "token-cache hit",
                instructions: 2_750,
                allocations: 0.0,
                times: 200,
                prepare: cache_hit,
            },
            Block {
                name: "cookie open",
                instructions: 72_500,
                allocations: 15.0,
                times: 50,
                prepare: opened_cookie,
            },
        ],
    );
}

struct Verdict([u8; 400]);

impl Weigh for Verdict {
    fn weigh(&self) -> usize {
        self.0.len()
    }
}

/// A token of 900 bytes, among a thousand others.
fn cache_hit() -> Box<dyn FnMut()> {
    let mut cache = CoreCache::new("budget", 4 << 20);
    let token = |number: usize| format!("{number:0900}");
    for number in 0..1_000 {
        cache.insert(VerdictKey::of(&[7; 32], token(number).as_bytes()), Verdict([0; 400]));
    }
    let token = token(500);
    Box::new(move || assert!(black_box(cache.get(&VerdictKey::of(&[7; 32], token.as_bytes()))).is_some()))
}
