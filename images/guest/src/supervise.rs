//! Runs a process within a time limit, and kills all its descendants afterwards.
//!
//! The process gets the writing end of a pipe as its *standard input* and writes its result there, apart from what it
//! prints. It is the standard input because std passes only three descriptors on.

use std::fs;
use std::io::{PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, wait};

use crate::child_exit;
use crate::concurrency::Concurrency;
use crate::priority::Priority;
use crate::text::Tail;

/// The longest result, in bytes. A longer one is truncated, and does not parse.
const REPORT_LIMIT: usize = 1 << 20;
/// How many bytes at the end of the output are kept.
const OUTPUT_LIMIT: usize = 8 << 10;
/// How long a killed process may take to exit. Only a process that is stuck in the kernel takes longer.
const GRACE: Duration = Duration::from_secs(5);

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status; `None` if it was killed at its time limit.
    pub(crate) status: Option<ExitStatus>,
    /// What it wrote to its standard input.
    pub(crate) report: Vec<u8>,
    /// The end of what it printed.
    pub(crate) output: Tail,
    pub(crate) duration: Duration,
}

/// Runs `command` in its own process group, and kills it at `limit` with all its descendants.
///
/// In parallel, descendants that left the process group live on until [`kill_descendants`]: the guest cannot tell which
/// scenario started them.
pub(crate) fn run(
    command: &mut Command,
    limit: Duration,
    concurrency: Concurrency,
) -> Result<Ended> {
    let start = Instant::now();
    let (report, report_end) = std::io::pipe()?;
    let (output, output_end) = std::io::pipe()?;
    command
        .stdin(report_end)
        .stdout(output_end.try_clone()?)
        .stderr(output_end)
        .process_group(0);
    let child = command.spawn().context("cannot start the process")?;
    // `command` holds copies of the writing ends of the pipes, and would keep them open.
    *command = Command::new("");

    let mut process = Process::new(child, report, output)?;
    let priority = (concurrency == Concurrency::Parallel).then(|| Priority::lowest(process.pid));
    if !process.watch(start + limit)? {
        kill_process_group(process.pid, Signal::KILL)?;
        process.watch(Instant::now() + GRACE)?;
        process.killed = true;
    }
    // Before waiting for the child: until then no other process group can get this id. This fails only for an empty
    // group.
    let _ = kill_process_group(process.pid, Signal::KILL);
    drop(priority);
    let status = process.child.try_wait()?;
    if concurrency == Concurrency::Serial {
        kill_descendants();
    }
    while process.read(Duration::ZERO)?.came {}
    Ok(Ended {
        status: status.filter(|_| !process.killed),
        report: process.report.bytes,
        output: process.output.bytes,
        duration: start.elapsed(),
    })
}

struct Process {
    child: Child,
    pid: Pid,
    /// Becomes readable when the process ends.
    end: PipeReader,
    killed: bool,
    report: Stream<Vec<u8>>,
    output: Stream<Tail>,
}

struct Stream<T> {
    /// `None` once the other end is closed.
    pipe: Option<PipeReader>,
    bytes: T,
}

impl Process {
    fn new(child: Child, report: PipeReader, output: PipeReader) -> Result<Self> {
        let pid = Pid::from_child(&child);
        let end = child_exit::watch(pid).context("cannot watch the process")?;
        let report = Stream {
            pipe: Some(report),
            bytes: Vec::new(),
        };
        let output = Stream {
            pipe: Some(output),
            bytes: Tail::new(OUTPUT_LIMIT),
        };
        Ok(Self {
            child,
            pid,
            end,
            killed: false,
            report,
            output,
        })
    }

    /// Reads until the process ends or until `deadline`. Returns whether it ended.
    fn watch(&mut self, deadline: Instant) -> Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.read(left)?.ended {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Waits up to `timeout` for data or the end of the process, and reads the data.
    fn read(&mut self, timeout: Duration) -> Result<Ready> {
        let mut fds = vec![PollFd::new(&self.end, PollFlags::IN)];
        fds.extend(
            self.report
                .pipe
                .iter()
                .map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        );
        fds.extend(
            self.output
                .pipe
                .iter()
                .map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        );
        match poll(&mut fds, Some(&Timespec::try_from(timeout)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let ended = ready.next() == Some(true);
        let report = self.report.pipe.is_some() && ready.next() == Some(true);
        let output = self.output.pipe.is_some() && ready.next() == Some(true);
        if report {
            self.report.read(|all, new| {
                if all.len() <= REPORT_LIMIT {
                    all.extend_from_slice(new);
                }
            })?;
        }
        if output {
            self.output.read(Tail::push)?;
        }
        Ok(Ready {
            ended,
            came: report || output,
        })
    }
}

struct Ready {
    /// The process ended.
    ended: bool,
    /// The process wrote data or closed a pipe.
    came: bool,
}

impl<T> Stream<T> {
    /// Reads once from a pipe that is readable.
    fn read(&mut self, keep: impl FnOnce(&mut T, &[u8])) -> Result<()> {
        let mut buffer = [0; 4096];
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        match pipe.read(&mut buffer)? {
            0 => self.pipe = None,
            len => keep(&mut self.bytes, &buffer[..len]),
        }
        Ok(())
    }
}

/// Kills and reaps every remaining child. Orphans become children of process 1, so this covers all descendants.
pub(crate) fn kill_descendants() {
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => {
                for child in children() {
                    let _ = kill_process(child, Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return,
        }
    }
}

/// The living children of this process.
fn children() -> Vec<Pid> {
    let me = getpid().as_raw_nonzero().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // "PID (NAME) STATE PARENT ..."; the name may contain any character.
        stat.rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1))
            == Some(&me)
    };
    pids.filter(is_child).filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use rustix::process::set_child_subreaper;

    use super::*;

    fn sh(script: &str, limit: Duration) -> Ended {
        run(
            Command::new("sh").args(["-c", script]),
            limit,
            Concurrency::Serial,
        )
        .unwrap()
    }

    /// One test, because each serial run kills all children of this process.
    #[test]
    fn process_is_killed_at_its_limit_with_its_descendants() {
        // As for process 1, orphans become children of this process.
        set_child_subreaper(Some(getpid())).unwrap();
        let minute = Duration::from_secs(60);
        let ended = sh("echo result >&0; echo out; echo err >&2; exit 3", minute);
        assert_eq!(ended.status.and_then(|status| status.code()), Some(3));
        assert_eq!(ended.report, b"result\n");
        assert_eq!(ended.output.lines(9), "out\nerr");

        // More than a pipe holds, then its end.
        let script = "exec 3>&0; yes | head -c 1000000; echo last; yes | head -c 3000000 >&3";
        let ended = sh(script, minute);
        assert!(
            ended.status.is_some_and(|status| status.success()),
            "{ended:?}"
        );
        assert_eq!(ended.output.lines(1), "last");
        assert!((REPORT_LIMIT..REPORT_LIMIT + 8192).contains(&ended.report.len()));

        // Past its limit, with a child in another session that holds the pipes open.
        let ended = sh(
            "echo before; setsid sleep 1000 & sleep 1000",
            Duration::from_millis(300),
        );
        assert!(ended.status.is_none());
        assert_eq!(ended.output.lines(9), "before");

        // Death by a signal is not a timeout.
        let ended = sh("kill -9 $$", minute);
        assert!(ended.status.is_some_and(|status| !status.success()));
        assert!(children().is_empty());
        assert!(
            run(
                &mut Command::new("/no/such/program"),
                minute,
                Concurrency::Serial
            )
            .is_err()
        );
    }
}
