//! Time limits of scenarios and programs. The guest ends what exceeds its limit; if it cannot, the host ends the VM.

use std::time::{Duration, Instant};

use protocol::{event::Event, program::TIME_LIMIT};

use crate::session::plan::Plan;

/// The time that the guest has after a limit, to end the processes and clean up.
const MARGIN: Duration = Duration::from_secs(20);

/// What runs in a VM, and its time limits.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// The time limit of each scenario, by id.
    scenarios: Vec<(String, Duration)>,
    program: Duration,
    /// With `--icount` the guest's time is not the host's: there is no deadline.
    icount: bool,
    running: Vec<Task>,
}

#[derive(Debug)]
struct Task {
    /// `None` for a program: only one runs at a time.
    scenario: Option<String>,
    name: String,
    started: Instant,
    limit: Duration,
}

impl Tasks {
    /// The limits of a plan; `--scenario-timeout` makes them longer.
    pub(crate) fn new(plan: &Plan, timeout: Option<Duration>, icount: bool) -> Self {
        let timeout = timeout.unwrap_or_default();
        let scenarios = plan.planned.iter();
        let scenarios = scenarios.map(|planned| (planned.id.clone(), planned.timeout.max(timeout)));
        let program = plan.programs.time_limit().unwrap_or_default();
        Self {
            scenarios: scenarios.collect(),
            program: program + timeout.saturating_sub(TIME_LIMIT),
            icount,
            running: Vec::new(),
        }
    }

    /// Records what starts and finishes.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Started { scenario } => {
                let planned = self.scenarios.iter().find(|(id, _)| id == scenario);
                if let Some((_, limit)) = planned {
                    self.start(Some(scenario.clone()), scenario.clone(), *limit);
                }
            }
            Event::Finished { scenario, .. } => {
                self.running
                    .retain(|task| task.scenario.as_ref() != Some(scenario));
            }
            Event::ProgramStarted { program, .. } => {
                self.start(None, format!("the program {program}"), self.program);
            }
            Event::ProgramFinished { .. } => self.running.retain(|task| task.scenario.is_some()),
            _ => {}
        }
    }

    fn start(&mut self, scenario: Option<String>, name: String, limit: Duration) {
        self.running.retain(|task| task.scenario != scenario);
        self.running.push(Task {
            scenario,
            name,
            started: Instant::now(),
            limit,
        });
    }

    /// Another VM starts.
    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }

    /// The earliest deadline, and the error to report then.
    pub(crate) fn deadline(&self) -> Option<(Instant, String)> {
        if self.icount {
            return None;
        }
        let end = |task: &Task| task.started.checked_add(task.limit + MARGIN);
        let ends = self.running.iter();
        let ends = ends.filter_map(|task| Some((end(task)?, task)));
        let (end, task) = ends.min_by_key(|(end, _)| *end)?;
        let (seconds, limit) = ((task.limit + MARGIN).as_secs(), task.limit.as_secs());
        let what = format!(
            "{} still ran {seconds} s after it started: the guest could not end it at its limit of {limit} s",
            task.name
        );
        Some((end, what))
    }
}
