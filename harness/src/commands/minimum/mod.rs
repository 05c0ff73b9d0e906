//! `harness minimum`: the oldest and the newest kernel on which each program of an object works.

mod bisection;
mod outcome;
mod search;

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use self::bisection::Bisection;
use self::outcome::Outcome;
use crate::cli::minimum::MinimumArgs;
use crate::initramfs::bpf_objects::Programs;
use crate::kernels::{Arch, Kernels};
use crate::report::terminal::Board;
use crate::session::booter::Booter;
use crate::session::options::RunOptions;
use crate::support::error::usage;
use crate::support::interrupt::{INTERRUPTED, Interrupt};

/// Searches, and prints the result.
pub fn run(args: &MinimumArgs) -> Result<u8> {
    let kernels = Kernels::open(args.store.clone())?;
    let named = kernels.expand(&args.all.kernels)?;
    let programs = Programs::plan(
        &args.objects,
        &named.iter().map(|name| Arch::of_name(name)).collect(),
    )?;
    if programs.planned().is_empty() {
        return Err(usage("name the object to search for: --object FILE"));
    }
    let options = RunOptions {
        accel: args.accel,
        ..RunOptions::default()
    };
    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let board = Board::new(args.verbose);
    let kernels = (kernels, args.all.kernels.as_slice(), args.own.as_slice());
    let booter = Booter::new(kernels, &options, &programs, &board, &interrupt)?;
    let mut bisection = Bisection::new(&programs, &booter)?;
    bisection.go(&booter, &board)?;
    if interrupt.stop().requested() {
        board.say(INTERRUPTED);
        return Ok(interrupt.exit_code().unwrap_or(3));
    }
    let outcome = Outcome::new(&bisection, &programs, &booter);
    let text = if args.json {
        serde_json::to_string_pretty(&outcome)? + "\n"
    } else {
        outcome.page()
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    Ok(outcome.exit_code())
}
