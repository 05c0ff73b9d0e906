//! Threads that call a function without pause, each on a CPU of its own.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fexit::util::online_cpus;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use crate::scenario::skip;

/// The tags of calls; the maps of `smp.bpf.c` have an element for each.
pub(super) const TAGS: u32 = 256;

/// The first of the process ids that tell the tag. No process has it.
const FIRST_PID: u32 = 0x4000_0000;

/// How long the callers may take to do something, on any machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Calls `sched_getaffinity`, which cannot sleep, with this tag.
pub(super) fn call(tag: u32) -> Result<()> {
    let pid = i32::try_from(FIRST_PID + tag)?;
    let pid = Pid::from_raw(pid).context("the process id is 0")?;
    ensure!(
        sched_getaffinity(Some(pid)).is_err(),
        "process {pid:?} exists"
    );
    Ok(())
}

/// Keeps this thread on one CPU.
pub(super) fn stay_on(cpu: u32) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu.try_into()?);
    sched_setaffinity(None, &only).with_context(|| format!("cannot move to CPU {cpu}"))
}

/// The online CPUs. Skips the scenario if there is only one.
pub(super) fn two_or_more_cpus() -> Result<Vec<u32>> {
    let cpus = online_cpus().map_err(|(_, error)| error)?;
    if cpus.len() < 2 {
        return Err(skip("this VM has one CPU, and two are required (--cpus 2)"));
    }
    Ok(cpus)
}

/// Threads that call without pause until this is dropped.
pub(super) struct Callers {
    /// The tag of the next calls.
    tag: AtomicU32,
    stop: AtomicBool,
    threads: Vec<Caller>,
}

struct Caller {
    cpu: u32,
    /// The tag of the present call.
    tag: AtomicU32,
    /// The finished calls by tag.
    calls: Vec<AtomicU64>,
}

/// Runs `body` on the first CPU, and a caller on each other CPU. Its calls have the tag 0 until [`Callers::switch`].
pub(super) fn with_callers<T>(body: impl FnOnce(&Callers) -> Result<T>) -> Result<T> {
    let cpus = two_or_more_cpus()?;
    let caller = |&cpu: &u32| Caller {
        cpu,
        tag: AtomicU32::new(0),
        calls: (0..TAGS).map(|_| AtomicU64::new(0)).collect(),
    };
    let callers = Callers {
        tag: AtomicU32::new(0),
        stop: AtomicBool::new(false),
        threads: cpus[1..].iter().map(caller).collect(),
    };
    stay_on(cpus[0])?;
    thread::scope(|scope| {
        let callers = &callers;
        let spawn = |caller| scope.spawn(move || callers.run(caller));
        let threads: Vec<_> = callers.threads.iter().map(spawn).collect();
        let result = body(callers);
        callers.stop.store(true, SeqCst);
        for thread in threads {
            thread.join().ok().context("a caller panicked")??;
        }
        result
    })
}

impl Callers {
    fn run(&self, caller: &Caller) -> Result<()> {
        stay_on(caller.cpu)?;
        while !self.stop.load(SeqCst) {
            let tag = self.tag.load(SeqCst);
            caller.tag.store(tag, SeqCst);
            call(tag)?;
            caller.calls[tag as usize].fetch_add(1, SeqCst);
        }
        Ok(())
    }

    /// The next calls have this tag. Returns when no call with another one is under way.
    pub(super) fn switch(&self, tag: u32) -> Result<()> {
        ensure!(tag < TAGS, "there are {TAGS} tags");
        self.tag.store(tag, SeqCst);
        self.wait("change the tag", |caller| caller.tag.load(SeqCst) == tag)
    }

    /// Waits until each caller has finished this many calls with the tag.
    pub(super) fn wait_for_calls(&self, tag: u32, calls: u64) -> Result<()> {
        let enough = |caller: &Caller| caller.calls[tag as usize].load(SeqCst) >= calls;
        self.wait("make their calls", enough)
    }

    /// How many calls with the tag all callers have finished.
    pub(super) fn calls(&self, tag: u32) -> u64 {
        let calls = |caller: &Caller| caller.calls[tag as usize].load(SeqCst);
        self.threads.iter().map(calls).sum()
    }

    fn wait(&self, what: &str, done: impl Fn(&Caller) -> bool) -> Result<()> {
        let start = Instant::now();
        while !self.threads.iter().all(&done) {
            ensure!(start.elapsed() < TIMEOUT, "the callers do not {what}");
            thread::yield_now();
        }
        Ok(())
    }
}
