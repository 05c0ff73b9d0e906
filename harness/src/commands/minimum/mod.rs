//! `harness minimum`: the oldest and the newest kernel on which each program of an object works.

mod outcome;
mod search;

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use fexit::KernelVersion;

use self::outcome::Outcome;
use self::search::{Search, Seen};
use crate::cli::minimum::MinimumArgs;
use crate::initramfs::bpf_objects::Programs;
use crate::kernels::Kernels;
use crate::report::terminal::Board;
use crate::report::{KernelReport, ScenarioVerdict};
use crate::session::booter::Booter;
use crate::session::options::RunOptions;
use crate::support::error::usage;
use crate::support::interrupt::{INTERRUPTED, Interrupt};

/// Searches, and prints what was found.
pub fn run(args: &MinimumArgs) -> Result<u8> {
    let programs = Programs::plan(&args.objects)?;
    if programs.planned().is_empty() {
        return Err(usage("--object FILE says whose minimum is wanted"));
    }
    let kernels = Kernels::open(args.store.options())?;
    let options = RunOptions {
        accel: args.accel,
        ..RunOptions::default()
    };
    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let board = Board::new(args.verbose);
    let kernels = (kernels, args.kernels.as_slice(), args.own.as_slice());
    let booter = Booter::new(kernels, &options, &programs, &board, &interrupt)?;
    let mut hunt = Hunt::new(&programs, &booter)?;
    hunt.go(&booter, &board)?;
    if interrupt.stop().requested() {
        board.say(INTERRUPTED);
        return Ok(interrupt.exit_code().unwrap_or(3));
    }
    let outcome = Outcome::new(&hunt, &programs, &booter);
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

/// The searches for all programs. A kernel that is booted for one of them tells about all.
struct Hunt {
    searches: Vec<Search>,
    /// What each kernel said, by its place; none if it was not booted.
    reports: Vec<Option<KernelReport>>,
    boots: u32,
}

impl Hunt {
    fn new(programs: &Programs, booter: &Booter) -> Result<Self> {
        let versions = booter.versions();
        let mut searches = Vec::new();
        let needs: Vec<_> = programs
            .objects()
            .iter()
            .map(|object| object.parsed.needs())
            .collect::<Result<_, _>>()
            .map_err(|error| usage(error.to_string()))?;
        for planned in programs.planned() {
            let path =
                |object: &crate::initramfs::bpf_objects::Object| object.path.display().to_string();
            let place = programs
                .objects()
                .iter()
                .position(|o| path(o) == planned.object);
            let needs = place.and_then(|place| needs.get(place)?.get(&planned.task.program));
            let minimum = needs.and_then(fexit::Needs::minimum);
            let hint = minimum.and_then(|minimum| first_from(&versions, minimum));
            searches.push(Search::new(versions.len(), hint));
        }
        Ok(Self {
            searches,
            reports: versions.iter().map(|_| None).collect(),
            boots: 0,
        })
    }

    fn go(&mut self, booter: &Booter, board: &Board) -> Result<()> {
        while let Some(kernel) = self.searches.iter().find_map(Search::next) {
            let report = booter.boot(kernel);
            if booter.interrupted() {
                return Ok(());
            }
            self.boots += report.attempts;
            for (number, search) in self.searches.iter_mut().enumerate() {
                search.set(kernel, seen(&report, number));
            }
            if let Some(error) = &report.error {
                board.say(format_args!("{}: {error}", report.requested));
            }
            if let Some(slot) = self.reports.get_mut(kernel) {
                *slot = Some(report);
            }
        }
        Ok(())
    }
}

fn seen(report: &KernelReport, program: usize) -> Seen {
    match report.programs.get(program).map(|program| program.verdict) {
        Some(ScenarioVerdict::Ok) => Seen::Works,
        Some(ScenarioVerdict::NotOk) => Seen::Refused,
        Some(ScenarioVerdict::Unknown) | None => Seen::Unusable,
    }
}

fn first_from(versions: &[Option<KernelVersion>], minimum: KernelVersion) -> Option<usize> {
    versions
        .iter()
        .position(|version| version.is_some_and(|version| version >= minimum))
}
