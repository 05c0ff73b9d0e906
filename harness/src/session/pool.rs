//! Runs kernels in parallel, and updates the report after each.

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

/// How long the kernels may take after an interrupt to return their results. Ending a VM or a download takes milliseconds;
/// a kernel that waits for another harness may take longer, and is abandoned.
const GRACE: Duration = Duration::from_secs(3);

/// Runs every kernel, `jobs` at once, until all are finished or the user interrupts.
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
    let mut interrupted = None;
    loop {
        match finished.recv_timeout(TICK) {
            Ok(kernel) => {
                put(report, kernel);
                update(report);
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if setup.interrupt.stop().requested() {
                    let since: &mut Instant = interrupted.get_or_insert_with(Instant::now);
                    if since.elapsed() >= GRACE {
                        return;
                    }
                }
            }
        }
    }
}

/// Starts a thread for each VM that may run at once. Threads that still run after an interrupt end with the process.
fn start(setup: &Arc<Setup>, jobs: usize, targets: Vec<Target>) -> Receiver<KernelReport> {
    let (sender, finished) = mpsc::channel();
    let next = Arc::new(AtomicUsize::new(0));
    let targets = Arc::new(targets);
    for _ in 0..jobs.min(targets.len()) {
        let (setup, targets) = (Arc::clone(setup), Arc::clone(&targets));
        let (sender, next) = (sender.clone(), Arc::clone(&next));
        thread::spawn(move || {
            while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                // After an interrupt the receiver is gone.
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
