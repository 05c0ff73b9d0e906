//! Whose turn it is: scenarios that count nothing but their own run side by side, the others alone.
//!
//! Most of a scenario's time can be waiting, for a grace period of the kernel say, and then others get on meanwhile.
//! Whatever goes wrong side by side is tried once more alone, to learn whose fault it is. A complaint of the kernel, or
//! something left behind, that does not come back then is blamed on all that it can have come from: it is never lost.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use guest::scenarios;
use protocol::event::{Event, ScenarioResult};

use crate::child::{self, Company};
use crate::init::{Log, watched};
use crate::kmsg::{KMSG, KernelLog};
use crate::leaks::Census;
use crate::port::Port;
use crate::{beside, outcome, supervise};

/// How many run side by side: enough that one of them has something to do.
const AT_ONCE: usize = 4;

/// Everything that it takes to run scenarios and to tell of them.
pub(crate) struct Turns<'a> {
    port: &'a mut Port,
    log: &'a mut Log,
    longer_s: Option<u64>,
}

/// A scenario that ran, and how it went.
type Ran = (String, ScenarioResult);

impl<'a> Turns<'a> {
    pub(crate) fn new(port: &'a mut Port, log: &'a mut Log, longer_s: Option<u64>) -> Self {
        Self {
            port,
            log,
            longer_s,
        }
    }

    /// Runs all of them, on demand one after the other.
    pub(crate) fn run(&mut self, ids: &[String], in_turn: bool) -> Result<()> {
        // Without the log each of them would have to be suspected.
        if in_turn || self.log.is_err() || !beside::is_safe() {
            return ids.iter().try_for_each(|id| self.alone(id).map(drop));
        }
        for turn in turns(ids) {
            match turn.as_slice() {
                [id] => self.alone(id).map(drop)?,
                several => self.side_by_side(several)?,
            }
        }
        Ok(())
    }

    fn alone(&mut self, id: &str) -> Result<ScenarioResult> {
        started(self.port, id)?;
        let result = run(id, self.longer_s, self.log, Company::Alone)?;
        finished(self.port, id, &result)?;
        Ok(result)
    }

    fn side_by_side(&mut self, ids: &[String]) -> Result<()> {
        let before = Census::of_kernel();
        let ran = self.crowd(ids)?;
        supervise::kill_descendants();
        let left = before.nothing_new().err().map(|left| format!("{left:#}"));
        if let Some(left) = &left {
            let all = ids.join(", ");
            self.warn(format!("{left}; each is tried alone of {all}"))?;
        }
        let mut again = Vec::new();
        for (id, result) in &ran {
            if !result.is_well() {
                let error = result.error.as_deref().unwrap_or("no reason was given");
                let why = error.lines().next().unwrap_or_default();
                self.warn(format!(
                    "{id} is tried alone, for beside others it went wrong: {why}"
                ))?;
            }
            if left.is_some() || !result.is_well() {
                again.push((id.clone(), self.alone(id)?));
            }
        }
        for (id, result) in unexplained(&ran, &again, left.as_deref()) {
            finished(self.port, &id, &result)?;
        }
        Ok(())
    }

    /// Runs them side by side, and tells of each.
    fn crowd(&mut self, ids: &[String]) -> Result<Vec<Ran>> {
        let longer_s = self.longer_s;
        let port = Mutex::new(&mut *self.port);
        let port = || port.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting: Mutex<VecDeque<&String>> = Mutex::new(ids.iter().collect());
        let next = || {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.pop_front()
        };
        let worker = || -> Result<Vec<Ran>> {
            let mut ran = Vec::new();
            // What the kernel says is heard by each of those that run meanwhile.
            let mut log = KernelLog::another(KMSG);
            while let Some(id) = next() {
                started(&mut port(), id)?;
                let result = run(id, longer_s, &mut log, Company::Others)?;
                finished(&mut port(), id, &result)?;
                ran.push((id.clone(), result));
            }
            Ok(ran)
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
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

/// Those that must answer for what happened side by side and did not happen again to one that was alone.
fn unexplained(ran: &[Ran], again: &[Ran], left: Option<&str>) -> Vec<Ran> {
    let has_splat = |(_, result): &&Ran| result.splat.is_some();
    let mut blamed = Vec::new();
    if !again.iter().any(|ran| has_splat(&ran)) {
        blamed.extend(ran.iter().filter(has_splat).cloned());
    }
    if let Some(left) = left
        && again.iter().all(|(_, result)| result.is_well())
    {
        let failed = again.iter().cloned().map(|(id, mut result)| {
            outcome::note_leftover(&mut result, left);
            (id, result)
        });
        blamed.extend(failed);
    }
    blamed
}

/// Cuts the list into turns: those that may run beside others together, each of the rest by itself.
///
/// One that must be alone may be overtaken; not so a fault made on purpose, for what comes after it shows what it did.
fn turns(ids: &[String]) -> Vec<Vec<String>> {
    let beside = |id: &String| scenarios::find(id).is_some_and(|scenario| scenario.beside_others);
    let barrier = |id: &String| scenarios::find(id).is_none_or(|scenario| scenario.hidden);
    let fence = |id: &String| barrier(id) && !beside(id);
    let mut turns = Vec::new();
    for part in ids.chunk_by(|one, next| !fence(one) && !fence(next)) {
        let (together, alone): (Vec<_>, Vec<_>) = part.iter().cloned().partition(beside);
        turns.extend((!together.is_empty()).then_some(together));
        turns.extend(alone.chunks(1).map(<[_]>::to_vec));
    }
    turns
}

/// Runs a scenario with an eye on the kernel's log. An error is the guest's own.
fn run(id: &str, longer_s: Option<u64>, log: &mut Log, company: Company) -> Result<ScenarioResult> {
    let (result, splat) = watched(log, || in_process(id, longer_s, company));
    let mut result = result.with_context(|| format!("cannot run the scenario {id}"))?;
    match splat {
        Ok(splat) => outcome::note_splat(&mut result, splat),
        Err(why) => outcome::note_blindness(&mut result, &why),
    }
    Ok(result)
}

fn in_process(id: &str, longer_s: Option<u64>, company: Company) -> Result<ScenarioResult> {
    let Some(scenario) = scenarios::find(id) else {
        return Ok(outcome::failed(
            &format!("this guest has no scenario `{id}`"),
            Duration::ZERO,
        ));
    };
    let limit = scenario
        .timeout
        .max(Duration::from_secs(longer_s.unwrap_or(0)));
    let ended = supervise::run(&mut child::command(id, company), limit, company)?;
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
