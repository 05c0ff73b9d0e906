//! Schedules scenarios: those marked `parallel` run in parallel, the others serially.
//!
//! A scenario spends most of its time waiting, for example for a grace period of the kernel; others can run then.
//! A scenario that fails in parallel runs once more serially, to find which one is at fault. A splat or leak that does
//! not recur then is attributed to every scenario that can have caused it, so that none is lost.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use guest::scenarios;
use protocol::event::{Event, ScenarioResult};

use crate::concurrency::Concurrency;
use crate::kmsg::{KMSG, KernelLog};
use crate::leak_check::LeakCheck;
use crate::log_watch::{self, Log};
use crate::port::Port;
use crate::{outcome, parallel, pins, scenario_process, supervise};

/// How many scenarios run in parallel: enough that usually one of them does not wait.
const WORKERS: usize = 4;

/// Runs scenarios and reports them.
pub(crate) struct Scheduler<'a> {
    port: &'a mut Port,
    log: &'a mut Log,
    timeout_s: Option<u64>,
}

/// The id of a scenario that ran, and its result.
type Ran = (String, ScenarioResult);

impl<'a> Scheduler<'a> {
    pub(crate) fn new(port: &'a mut Port, log: &'a mut Log, timeout_s: Option<u64>) -> Self {
        Self {
            port,
            log,
            timeout_s,
        }
    }

    /// Runs the scenarios; `serial` runs all of them serially.
    pub(crate) fn run(&mut self, ids: &[String], serial: bool) -> Result<()> {
        // Without the log a splat would fail every scenario of a batch.
        if serial || self.log.is_err() || !parallel::is_safe() {
            return ids.iter().try_for_each(|id| self.run_serial(id).map(drop));
        }
        for batch in batches(ids) {
            match batch.as_slice() {
                [id] => self.run_serial(id).map(drop)?,
                batch => self.run_parallel(batch)?,
            }
        }
        Ok(())
    }

    fn run_serial(&mut self, id: &str) -> Result<ScenarioResult> {
        started(self.port, id)?;
        let result = run(id, self.timeout_s, self.log, Concurrency::Serial)?;
        if !result.is_well() {
            pins::remove_all();
        }
        finished(self.port, id, &result)?;
        Ok(result)
    }

    fn run_parallel(&mut self, ids: &[String]) -> Result<()> {
        let before = LeakCheck::for_kernel();
        let ran = self.run_workers(ids)?;
        supervise::kill_descendants();
        let left = before.finish().err().map(|left| format!("{left:#}"));
        if let Some(left) = &left {
            let all = ids.join(", ");
            self.warn(format!(
                "{left}; these scenarios ran in parallel, and each runs again serially: {all}"
            ))?;
        }
        // A scenario that failed may have left a pin, with a name that it takes again.
        if left.is_some() || ran.iter().any(|(_, result)| !result.is_well()) {
            pins::remove_all();
        }
        let mut again = Vec::new();
        for (id, result) in &ran {
            if !result.is_well() {
                let error = result.error.as_deref().unwrap_or("no reason given");
                let why = error.lines().next().unwrap_or_default();
                self.warn(format!(
                    "scenario {id} failed in parallel and runs again serially: {why}"
                ))?;
            }
            if left.is_some() || !result.is_well() {
                again.push((id.clone(), self.run_serial(id)?));
            }
        }
        for (id, result) in unexplained(&ran, &again, left.as_deref()) {
            finished(self.port, &id, &result)?;
        }
        Ok(())
    }

    /// Runs the scenarios in parallel and reports each.
    fn run_workers(&mut self, ids: &[String]) -> Result<Vec<Ran>> {
        let timeout_s = self.timeout_s;
        let port = Mutex::new(&mut *self.port);
        let port = || port.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting: Mutex<VecDeque<&String>> = Mutex::new(ids.iter().collect());
        let next = || {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.pop_front()
        };
        let worker = || -> Result<Vec<Ran>> {
            let mut ran = Vec::new();
            // Every worker reads the full log: a splat is reported for each scenario that runs at that time.
            let mut log = KernelLog::reopen(KMSG);
            while let Some(id) = next() {
                started(&mut port(), id)?;
                let result = run(id, timeout_s, &mut log, Concurrency::Parallel)?;
                finished(&mut port(), id, &result)?;
                ran.push((id.clone(), result));
            }
            Ok(ran)
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
            let mut ran = Vec::new();
            for worker in workers {
                match worker.join() {
                    Ok(result) => ran.extend(result?),
                    Err(_) => anyhow::bail!("a thread of /init panicked"),
                }
            }
            Ok(ran)
        })
    }

    fn warn(&mut self, message: String) -> Result<()> {
        self.port.send(&Event::Warning { message })
    }
}

/// The results that change: splats and leaks of the parallel run that no serial run (`again`) reproduced. A scenario that
/// failed in parallel did not clean up, which explains a leak.
fn unexplained(ran: &[Ran], again: &[Ran], left: Option<&str>) -> Vec<Ran> {
    let has_splat = |(_, result): &&Ran| result.splat.is_some();
    let mut blamed = Vec::new();
    if !again.iter().any(|ran| has_splat(&ran)) {
        blamed.extend(ran.iter().filter(has_splat).cloned());
    }
    let mut all = ran.iter().chain(again);
    if let Some(left) = left
        && all.all(|(_, result)| result.is_well())
    {
        let failed = again.iter().cloned().map(|(id, mut result)| {
            outcome::note_leak(&mut result, left);
            (id, result)
        });
        blamed.extend(failed);
    }
    blamed
}

/// Splits the list into batches: the parallel scenarios together, each serial one by itself.
///
/// Parallel scenarios may run before a serial one that precedes them, but never before a deliberate fault: the scenarios
/// after it test its effect.
fn batches(ids: &[String]) -> Vec<Vec<String>> {
    let is_parallel = |id: &String| scenarios::find(id).is_some_and(|scenario| scenario.parallel);
    let is_hidden = |id: &String| scenarios::find(id).is_none_or(|scenario| scenario.hidden);
    let is_barrier = |id: &String| is_hidden(id) && !is_parallel(id);
    let mut batches = Vec::new();
    for part in ids.chunk_by(|one, next| !is_barrier(one) && !is_barrier(next)) {
        let (together, serial): (Vec<_>, Vec<_>) = part.iter().cloned().partition(is_parallel);
        batches.extend((!together.is_empty()).then_some(together));
        batches.extend(serial.chunks(1).map(<[_]>::to_vec));
    }
    batches
}

/// Runs a scenario and watches the kernel's log. An error is a fault of the guest, not of the scenario.
fn run(
    id: &str,
    timeout_s: Option<u64>,
    log: &mut Log,
    concurrency: Concurrency,
) -> Result<ScenarioResult> {
    let (result, splat) = log_watch::watch(log, || in_process(id, timeout_s, concurrency));
    let mut result = result.with_context(|| format!("cannot run the scenario {id}"))?;
    match splat {
        Ok(splat) => outcome::note_splat(&mut result, splat),
        Err(why) => outcome::note_unreadable_log(&mut result, &why),
    }
    Ok(result)
}

fn in_process(
    id: &str,
    timeout_s: Option<u64>,
    concurrency: Concurrency,
) -> Result<ScenarioResult> {
    let Some(scenario) = scenarios::find(id) else {
        return Ok(outcome::failed(
            &format!("this guest has no scenario `{id}`"),
            Duration::ZERO,
        ));
    };
    let limit = scenario
        .timeout
        .max(Duration::from_secs(timeout_s.unwrap_or(0)));
    let ended = supervise::run(
        &mut scenario_process::command(id, concurrency),
        limit,
        concurrency,
    )?;
    Ok(outcome::of(&ended, limit))
}

fn started(port: &mut Port, id: &str) -> Result<()> {
    port.send(&Event::Started {
        scenario: id.to_owned(),
    })
}

fn finished(port: &mut Port, id: &str, result: &ScenarioResult) -> Result<()> {
    port.send(&Event::Finished {
        scenario: id.to_owned(),
        result: result.clone(),
    })
}

#[cfg(test)]
mod tests;
