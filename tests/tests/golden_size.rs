//! How large are the programs, and how long does the kernel take to verify them?
//!
//! The kernel refuses a program when the verifier has gone through a million instructions, and a small change may double their
//! number: one more branch in front of a loop does. What grows past its budget here is looked at before users meet that limit.

use anyhow::{Result, ensure};
use lb_common::model::World;
use lb_common::net::Be32;
use tests::needs_lab;
use tests::plane::{Program, Size};

fn within(name: &'static str, budget: Size) -> Result<()> {
    let size = Program::<Be32>::load(name, &World::new(1024))?.size()?;
    println!(
        "{name}: {} of {} instructions verified, {} of {} bytes translated",
        size.verified, budget.verified, size.translated, budget.translated
    );
    ensure!(
        size.verified <= budget.verified && size.translated <= budget.translated,
        "`{name}` is {size:?}, over {budget:?}\nhint: look for a branch or a loop that the verifier follows once more for each way \
         that leads to it; a step of its own (steps.rs) is verified once"
    );
    Ok(())
}

#[test]
fn the_balancer_leaves_a_quarter_of_the_verifiers_limit() -> Result<()> {
    needs_lab!();
    within(
        "lb",
        Size {
            verified: 750_000,
            translated: 160 << 10,
        },
    )
}

#[test]
fn so_does_the_one_for_ipv6() -> Result<()> {
    needs_lab!();
    within(
        "lb6",
        Size {
            verified: 750_000,
            translated: 192 << 10,
        },
    )
}

#[test]
fn decapsulation_is_small() -> Result<()> {
    needs_lab!();
    within(
        "decap",
        Size {
            // Two families around and two inside.
            verified: 1_500,
            translated: 4 << 10,
        },
    )
}

#[test]
fn those_for_later_fragments_are_small() -> Result<()> {
    needs_lab!();
    for name in ["fragments4", "fragments6"] {
        within(
            name,
            Size {
                verified: 20_000,
                translated: 16 << 10,
            },
        )?;
    }
    Ok(())
}
