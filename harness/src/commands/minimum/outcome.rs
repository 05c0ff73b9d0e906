//! The result of the search, as JSON and as text.

use std::fmt::Write as _;

use serde::Serialize;

use super::search::Search;
use crate::commands::minimum::bisection::Bisection;
use crate::initramfs::bpf_objects::{Planned, Programs};
use crate::report::{KernelReport, ProgramReport, ScenarioVerdict};
use crate::session::booter::Booter;
use crate::support::sanitize::{one_line, plain};

/// All programs.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    minimum_version: u32,
    /// The number of VMs.
    boots: u32,
    kernels: Vec<String>,
    programs: Vec<Program>,
}

/// One program.
#[derive(Debug, Serialize)]
struct Program {
    object: String,
    program: String,
    /// What its section begins with, as `kprobe`.
    kind: String,
    /// Whether it is attached; else it is only loaded, to be verified.
    attached: bool,
    /// Null if neither its section nor --target names one, or if it is not attached.
    target: Option<String>,
    /// Null if it works on none.
    oldest: Option<Kernel>,
    newest: Option<Kernel>,
    /// The neighbours on which it does not work; null if there is none among the kernels. If it works on none, the
    /// oldest and the newest on which it was tried.
    refused_below: Option<Refusal>,
    refused_above: Option<Refusal>,
    /// Kernels between the oldest and the newest on which it does not work.
    exceptions: Vec<Refusal>,
    /// Every kernel on which it was tried.
    tried: Vec<Tried>,
}

#[derive(Debug, Serialize)]
struct Kernel {
    kernel: String,
    version: Option<String>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    #[serde(flatten)]
    kernel: Kernel,
    outcome: &'static str,
    kind: Option<protocol::program::ReasonKind>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Tried {
    kernel: String,
    outcome: &'static str,
}

impl Outcome {
    pub(super) fn new(bisection: &Bisection, programs: &Programs, booter: &Booter) -> Self {
        let planned = programs.planned().iter().enumerate();
        Self {
            minimum_version: 1,
            boots: bisection.boots,
            kernels: booter.names().map(str::to_owned).collect(),
            programs: planned
                .map(|(number, planned)| program(bisection, number, planned))
                .collect(),
        }
    }

    /// 0 if every program works on some kernel, 1 if one works on none, 3 if nothing was learned.
    pub(super) fn exit_code(&self) -> u8 {
        let tried = || self.programs.iter().filter(|p| p.is_tried());
        let all = |test: fn(&Program) -> bool| tried().all(test);
        if !all(|program| !program.tried.is_empty()) {
            3
        } else if all(|program| program.oldest.is_some()) {
            0
        } else {
            1
        }
    }

    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        for program in &self.programs {
            program.show(&mut page);
        }
        let _ = writeln!(
            page,
            "{} boots, among {} kernels: {}",
            self.boots,
            self.kernels.len(),
            self.kernels.join(", ")
        );
        plain(&page).into_owned()
    }
}

impl Program {
    /// A program that is attached needs a target.
    fn is_tried(&self) -> bool {
        self.target.is_some() || !self.attached
    }

    fn show(&self, page: &mut String) {
        let mut line = |text: String| {
            let _ = writeln!(page, "{}", one_line(&text));
        };
        if !self.is_tried() {
            line(format!(
                "{name} of {}: not tried, for its section names no target: pass --target {name}=FUNCTION",
                self.object,
                name = self.program
            ));
            return;
        }
        let of = match &self.target {
            Some(target) => format!("{} of {}, on {target}", self.program, self.object),
            None => format!("{} of {} ({})", self.program, self.object, self.kind),
        };
        let works = if self.attached { "works" } else { "verified" };
        match (&self.oldest, &self.newest) {
            (Some(oldest), Some(newest)) => {
                line(format!(
                    "{of}: {works} from {} to {}",
                    oldest.kernel, newest.kernel
                ));
            }
            _ => line(format!("{of}: {works} on none of the kernels")),
        }
        match &self.refused_below {
            Some(refusal) => line(format!(
                "  not on {}: {}",
                refusal.kernel.kernel, refusal.reason
            )),
            None if self.oldest.is_some() => line("  no older kernel is among them".to_owned()),
            None => line("  none of them could be booted".to_owned()),
        }
        match &self.refused_above {
            Some(refusal) => line(format!(
                "  not on {}: {}",
                refusal.kernel.kernel, refusal.reason
            )),
            None if self.newest.is_some() => line("  no newer kernel is among them".to_owned()),
            None => {}
        }
        for refusal in &self.exceptions {
            line(format!(
                "  and not on {} between them, so do not rely on the range: {}",
                refusal.kernel.kernel, refusal.reason
            ));
        }
    }
}

fn program(bisection: &Bisection, number: usize, planned: &Planned) -> Program {
    let found = bisection
        .searches
        .get(number)
        .map(Search::found)
        .unwrap_or_default();
    let report = |at: usize| {
        let kernel = bisection.reports.get(at)?.as_ref()?;
        Some((kernel, kernel.programs.get(number)?))
    };
    let place = |at: Option<usize>| report(at?).map(|(report, _)| kernel(report));
    let refused = |at: usize| report(at).map(|(report, program)| refusal(report, program));
    let judged =
        |at: &usize| report(*at).is_some_and(|(_, p)| p.verdict != ScenarioVerdict::Unknown);
    let tried: Vec<usize> = (0..bisection.reports.len()).filter(judged).collect();
    // If it works on no kernel, the oldest and the newest have the reasons.
    let (below, above) = match found.oldest {
        Some(_) => (found.below, found.above),
        None if tried.len() < 2 => (tried.first().copied(), None),
        None => (tried.first().copied(), tried.last().copied()),
    };
    Program {
        object: planned.object.clone(),
        program: planned.task.name().to_owned(),
        kind: planned.kind.clone(),
        attached: planned.attachable,
        target: planned.target.clone(),
        oldest: place(found.oldest),
        newest: place(found.newest),
        refused_below: below.and_then(refused),
        refused_above: above.and_then(refused),
        exceptions: found
            .exceptions
            .iter()
            .filter_map(|&at| refused(at))
            .collect(),
        tried: tried
            .iter()
            .filter_map(|&at| report(at))
            .map(|(kernel, program)| Tried {
                kernel: kernel.requested.clone(),
                outcome: program.result.outcome.name(),
            })
            .collect(),
    }
}

fn kernel(report: &KernelReport) -> Kernel {
    Kernel {
        kernel: report.requested.clone(),
        version: report.version.clone(),
    }
}

fn refusal(report: &KernelReport, program: &ProgramReport) -> Refusal {
    Refusal {
        kernel: kernel(report),
        outcome: program.result.outcome.name(),
        kind: program.result.reason.as_ref().map(|reason| reason.kind),
        reason: program.why().unwrap_or_default().to_owned(),
    }
}
