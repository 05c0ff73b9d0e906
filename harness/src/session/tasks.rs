//! How long what the guest began may take: it ends a scenario at its limit itself, and where it cannot, the host does.

use std::time::{Duration, Instant};

use protocol::{event::Event, program::TIME_LIMIT};

use crate::session::plan::Plan;

/// What the guest may take beyond a limit, to end a process and all that is left of it.
const MARGIN: Duration = Duration::from_secs(20);

/// What runs in a VM, and until when.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// Ids of scenarios and their limits.
    scenarios: Vec<(String, Duration)>,
    program: Duration,
    /// The guest's time is not the host's.
    icount: bool,
    running: Vec<Task>,
}

#[derive(Debug)]
struct Task {
    /// `None` for a program: there is only one at a time.
    scenario: Option<String>,
    name: String,
    began: Instant,
    limit: Duration,
}

impl Tasks {
    /// What may run, and how much longer than usual it may take.
    pub(crate) fn new(plan: &Plan, longer: Option<Duration>, icount: bool) -> Self {
        let longer = longer.unwrap_or_default();
        let scenarios = plan.planned.iter();
        let scenarios = scenarios.map(|planned| (planned.id.clone(), planned.timeout.max(longer)));
        let program = plan.programs.time_limit().unwrap_or_default();
        Self {
            scenarios: scenarios.collect(),
            program: program + longer.saturating_sub(TIME_LIMIT),
            icount,
            running: Vec::new(),
        }
    }

    /// Takes in what begins and ends.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Started { scenario } => {
                let planned = self.scenarios.iter().find(|(id, _)| id == scenario);
                if let Some((_, limit)) = planned {
                    self.begin(Some(scenario.clone()), scenario.clone(), *limit);
                }
            }
            Event::Finished { scenario, .. } => {
                self.running
                    .retain(|task| task.scenario.as_ref() != Some(scenario));
            }
            Event::ProgramStarted { program, .. } => {
                self.begin(None, format!("the program {program}"), self.program);
            }
            Event::ProgramFinished { .. } => self.running.retain(|task| task.scenario.is_some()),
            _ => {}
        }
    }

    fn begin(&mut self, scenario: Option<String>, name: String, limit: Duration) {
        self.running.retain(|task| task.scenario != scenario);
        self.running.push(Task {
            scenario,
            name,
            began: Instant::now(),
            limit,
        });
    }

    /// Another VM begins.
    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }

    /// When the first of them has had more than its time, and what there is to say then.
    pub(crate) fn deadline(&self) -> Option<(Instant, String)> {
        if self.icount {
            return None;
        }
        let end = |task: &Task| task.began.checked_add(task.limit + MARGIN);
        let ends = self.running.iter();
        let ends = ends.filter_map(|task| Some((end(task)?, task)));
        let (end, task) = ends.min_by_key(|(end, _)| *end)?;
        let (seconds, limit) = ((task.limit + MARGIN).as_secs(), task.limit.as_secs());
        let what = format!(
            "{} still ran {seconds} s after it began: the guest could not end it at its limit of {limit} s",
            task.name
        );
        Some((end, what))
    }
}
