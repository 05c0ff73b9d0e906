//! Boots kernels until the searches of all programs are finished.

use anyhow::Result;
use fexit::KernelVersion;

use super::search::{Search, Seen};
use crate::{
    initramfs::bpf_objects::{Object, Programs},
    report::{KernelReport, ScenarioVerdict, terminal::Board},
    session::booter::Booter,
    support::error::usage,
};

/// The searches for all programs. Each boot of a kernel tries all of them.
pub(super) struct Bisection {
    pub(super) searches: Vec<Search>,
    /// The report of each kernel by index; none if it was not booted.
    pub(super) reports: Vec<Option<KernelReport>>,
    pub(super) boots: u32,
}

impl Bisection {
    pub(super) fn new(programs: &Programs, booter: &Booter) -> Result<Self> {
        let versions = booter.versions();
        let mut searches = Vec::new();
        let required: Vec<_> = programs
            .objects()
            .iter()
            .map(|object| object.parsed.requirements(booter.arch().into()))
            .collect::<Result<_, _>>()
            .map_err(|error| usage(error.to_string()))?;
        for planned in programs.planned() {
            let path = |object: &Object| object.path.display().to_string();
            let place = programs
                .objects()
                .iter()
                .position(|o| path(o) == planned.object);
            let required = place.and_then(|place| required.get(place)?.get(planned.task.name()));
            let minimum = required.and_then(fexit::Requirements::minimum);
            let hint = minimum.and_then(|minimum| first_from(&versions, minimum));
            let kernels = if planned.is_tried() {
                versions.len()
            } else {
                0
            };
            searches.push(Search::new(kernels, hint));
        }
        Ok(Self {
            searches,
            reports: versions.iter().map(|_| None).collect(),
            boots: 0,
        })
    }

    pub(super) fn go(&mut self, booter: &Booter, board: &Board) -> Result<()> {
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
