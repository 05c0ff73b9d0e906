//! Process 1: sets up, runs the job's scenarios, reports, and ends the VM.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use protocol::event::Event;
use protocol::job::{EVENT_PORT, JOB_PATH, Job, MODULES_DIR, Work};
use rustix::io::Errno;
use rustix::stdio::dup2_stdin;
use rustix::system::{RebootCommand, finit_module, reboot, uname};
use rustix::time::{ClockId, clock_gettime};

use crate::environment::{self, Missing};
use crate::kmsg::{KMSG, KernelLog};
use crate::port::Port;
use crate::turns::Turns;
use crate::{command, programs, quirks};

/// Does the job and ends the VM, whatever happens. `prepared` says that the VM has what it needs for that.
pub(crate) fn run(prepared: bool) -> ExitCode {
    if let Err(error) = work(prepared) {
        say(format_args!("cannot go on: {error:#}"));
    }
    leave()
}

fn work(prepared: bool) -> Result<()> {
    let missing = if prepared {
        Missing::default()
    } else {
        environment::prepare()?
    };
    let job = read_job();
    let token = job.as_ref().map_or("", |job| &job.token);
    let mut port = Port::open(token)?;
    // The init of a template holds it open for us there.
    dup2_stdin(io::stdout()).context("cannot let go of the standard input")?;
    // From now on no other process finds it, and those that run scenarios can make no new one: see `confine`.
    fs::remove_file(EVENT_PORT).with_context(|| format!("cannot hide {EVENT_PORT}"))?;
    let release = uname().release().to_string_lossy().into_owned();
    port.send(&Event::Ready {
        release,
        uptime_us: uptime_us(),
    })?;
    let result = job.and_then(|job| {
        let modules = job.modules.iter();
        let unloaded = modules.filter_map(|name| load_module(name).err());
        let unusual = missing.usual.into_iter();
        let unusual = unusual.filter(|_| matches!(job.work, Work::Command(_)));
        for message in missing.wanted.into_iter().chain(unusual).chain(unloaded) {
            port.send(&Event::Warning { message })?;
        }
        do_work(&job.work, &mut port)
    });
    if let Err(error) = &result {
        // The host may be listening to this port only.
        port.send(&Event::CannotGoOn {
            message: format!("{error:#}"),
        })?;
    }
    port.drain()?;
    result
}

fn do_work(work: &Work, port: &mut Port) -> Result<()> {
    match work {
        Work::Scenarios {
            ids,
            timeout_s,
            in_turn,
            programs,
            tried,
            prepare,
            trigger,
            ..
        } => {
            quirks::step_around()?;
            let mut log = KernelLog::open(KMSG);
            Turns::new(port, &mut log, *timeout_s).run(ids, *in_turn)?;
            let tasks = programs.iter().enumerate();
            let tasks = tasks.filter(|(index, _)| !tried.contains(index));
            let commands = (prepare.as_ref(), trigger.as_ref());
            programs::run_all(tasks, commands, *timeout_s, &mut log, port)?;
            port.send(&Event::Done {
                scenarios: ids.len(),
            })
        }
        Work::Command(wanted) => command::work(wanted, port),
    }
}

/// The kernel's log, or why it cannot be read.
pub(crate) type Log = Result<KernelLog, String>;

/// Runs something with an eye on the kernel's log: what it returned, and the first splat meanwhile, or why that is not
/// known.
pub(crate) fn watched<T>(
    log: &mut Log,
    run: impl FnOnce() -> T,
) -> (T, Result<Option<String>, String>) {
    let skipped = log.as_mut().map_err(|why| why.clone()).and_then(|log| {
        log.skip()?;
        Ok(log)
    });
    let result = run();
    (result, skipped.and_then(KernelLog::splat))
}

/// Reads the job, and leaves it without its token, which is nobody else's business.
fn read_job() -> Result<Job> {
    let text = fs::read(JOB_PATH).with_context(|| format!("cannot read the job {JOB_PATH}"))?;
    let mut job: Job =
        serde_json::from_slice(&text).with_context(|| format!("{JOB_PATH} is not a job"))?;
    let token = std::mem::take(&mut job.token);
    fs::write(JOB_PATH, serde_json::to_vec(&job)?)
        .with_context(|| format!("cannot write {JOB_PATH}"))?;
    job.token = token;
    Ok(job)
}

fn load_module(name: &str) -> Result<(), String> {
    let path = Path::new(MODULES_DIR).join(format!("{name}.ko"));
    let file =
        File::open(&path).map_err(|error| format!("module {name}: {}: {error}", path.display()))?;
    match finit_module(&file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(format!("cannot load module {name}: {error}")),
    }
}

fn uptime_us() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000
}

/// Writes to the console, if there is one.
fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "init: {message}");
}

/// Asks the keyboard controller for a reset, as PCs have been asked from the beginning.
fn pull_reset_line() -> io::Result<()> {
    const PORT: u64 = 0x64;
    const RESET: u8 = 0xfe;
    let ports = File::options().write(true).open("/dev/port")?;
    ports.write_all_at(&[RESET], PORT)
}

/// Has the kernel do so without shutting down anything first.
fn restart_at_once() -> io::Result<()> {
    fs::write("/proc/sysrq-trigger", "b")
}

/// Ends the VM. A restart does so on every machine, as QEMU is told to leave then; power-off needs ACPI.
fn leave() -> ExitCode {
    let _ = rustix::termios::tcdrain(io::stderr());
    // Nothing here needs to be shut down in order. Where there is neither, the kernel does it.
    let _ = pull_reset_line();
    let _ = restart_at_once();
    match reboot(RebootCommand::Restart) {
        Ok(()) => say("the VM lives on after reboot(2)"),
        Err(error) => say(format_args!("cannot end the VM: {error}")),
    }
    // The end of process 1 is a kernel panic: the host notices that, too.
    ExitCode::FAILURE
}
