//! Several kernels at once, and the report brought up to date after each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use crate::report::{KernelReport, Report};
use crate::session::{
    kernel_run::{Setup, Target},
    outputs::Outputs,
};
use crate::support::interrupt::TICK;

/// How long after an interrupt the kernels may take to hand in what they have. A VM takes milliseconds, and a download is
/// left at once; what takes longer waits for another harness, and may be left as it is.
const GRACE: Duration = Duration::from_secs(3);

/// Runs every kernel, `jobs` at once, until all are finished or the user has interrupted.
pub(crate) fn run(
    setup: &Arc<Setup>,
    jobs: usize,
    targets: Vec<Target>,
    report: &mut Report,
    outputs: &Outputs,
) {
    let update = |report: &Report| {
        if let Err(error) = outputs.update(report) {
            setup
                .board
                .say(format_args!("{error:#}; the report will go to stdout"));
        }
    };
    update(report);
    let finished = start(setup, jobs, targets);
    let mut patience = Patience::new(setup);
    loop {
        match finished.recv_timeout(TICK) {
            Ok(kernel) => {
                put(report, kernel);
                update(report);
            }
            Err(RecvTimeoutError::Timeout) if patience.lasts() => {}
            Err(_) => return,
        }
    }
}

/// Starts as many threads as VMs may run at once. They belong to nobody: whoever is stuck when the user
/// interrupts ends with the process.
fn start(setup: &Arc<Setup>, jobs: usize, targets: Vec<Target>) -> Receiver<KernelReport> {
    let (sender, finished) = mpsc::channel();
    let next = Arc::new(AtomicUsize::new(0));
    let targets = Arc::new(targets);
    for _ in 0..jobs.min(targets.len()) {
        let (setup, targets) = (Arc::clone(setup), Arc::clone(&targets));
        let (sender, next) = (sender.clone(), Arc::clone(&next));
        thread::spawn(move || {
            while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Nobody listens any more after an interrupt.
                let _ = sender.send(setup.run(target));
            }
        });
    }
    finished
}

fn put(report: &mut Report, kernel: KernelReport) {
    if let Some(place) = report
        .kernels
        .iter_mut()
        .find(|k| k.requested == kernel.requested)
    {
        *place = kernel;
    }
    report.conclude();
}

/// Endless until the user interrupts.
struct Patience<'a> {
    setup: &'a Setup,
    interrupted: Option<Instant>,
}

impl<'a> Patience<'a> {
    fn new(setup: &'a Setup) -> Self {
        Self {
            setup,
            interrupted: None,
        }
    }

    fn lasts(&mut self) -> bool {
        if self.interrupted.is_none() && self.setup.interrupt.stop().requested() {
            self.interrupted = Some(Instant::now());
        }
        self.interrupted.is_none_or(|since| since.elapsed() < GRACE)
    }
}
