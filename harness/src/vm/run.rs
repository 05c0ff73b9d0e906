//! Running a VM.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::channel::{Channel, Channels, channel, in_memory, inherited};
use super::command::{Paths, arguments, kernel_command_line};
use super::config::{Config, Limits};
use super::ending::{Ending, Finished};
use super::keep::{Keep, by_hand};
use super::monitor::Monitor;
use super::process::Process;
use super::qemu::Qemu;
use super::received::{Received, Sink};
use super::role::Role;
use super::scan::Splat;
use super::template;
use crate::support::stop::Stop;

/// The limit for the event channel.
const EVENT_BYTES: u64 = 32 << 20;

/// The longest command line on x86-64 and arm64; the kernel ignores the rest.
const KERNEL_COMMAND_LINE: usize = 2047;

/// The number of reads that empty the channels after the end of QEMU.
const LAST_READS: usize = 64;

/// A running VM. It ends when this is dropped, or when the thread that started it ends; so it is not `Send`.
///
/// ```compile_fail
/// fn moved_to_another_thread<T: Send>() {}
/// moved_to_another_thread::<harness::vm::Vm>();
/// ```
#[derive(Debug)]
pub struct Vm {
    process: Process,
    started: Instant,
    limits: Limits,
    /// A debugger may stop the VM for any time.
    has_debugger: bool,
    channels: Channels,
    received: Received,
    command: String,
    /// QEMU writes to it while the VM runs; nothing reads that.
    monitor: Option<Monitor>,
    /// The window with the archive of a restored VM, until the guest has unpacked it.
    window: Option<OwnedFd>,
    /// Not `Send`: the VM is killed when the thread that started it ends.
    _stays: PhantomData<*const ()>,
}

impl Vm {
    /// Starts QEMU, from the template if there is one. Initramfs, console and events are inherited descriptors, so that
    /// no file stays behind, not even after SIGKILL.
    pub fn start(qemu: &Qemu, config: &Config<'_>) -> Result<Self> {
        let Some(template) = config.template else {
            return Self::launch(qemu, config, None);
        };
        let (role, monitor) = template.restored(config.initramfs)?;
        let mut vm = Self::launch(qemu, config, Some(&role))?;
        vm.monitor = Some(monitor);
        vm.window = Some(role.into_window());
        Ok(vm)
    }

    pub(super) fn launch(qemu: &Qemu, config: &Config<'_>, role: Option<&Role>) -> Result<Self> {
        let length = kernel_command_line(config).len();
        ensure!(
            length <= KERNEL_COMMAND_LINE,
            "the kernel's command line has {length} bytes, and the kernel reads {KERNEL_COMMAND_LINE}: shorten --append"
        );
        let keep = config
            .keep
            .map(|dir| Keep::new(dir, qemu, config))
            .transpose()?;
        // A restored VM has its archive in the window.
        let loaded = !role.is_some_and(Role::is_restored);
        let initramfs = if loaded { config.initramfs } else { &[] };
        let initramfs = in_memory(initramfs).context("cannot create a memfd for the initramfs")?;
        let (console, console_end) = channel().context("cannot create a pipe for the console")?;
        let (events, events_end) = channel().context("cannot create a pipe for the events")?;
        let mut fds = vec![&initramfs, &console_end, &events_end];
        fds.extend(role.into_iter().flat_map(|role| role.parts().fds()));
        let paths = [&initramfs, &console_end, &events_end].map(inherited);
        let paths = Paths {
            initramfs: &paths[0],
            console: &paths[1],
            events: &paths[2],
            role,
        };

        let mut command = Command::new(&qemu.path);
        command
            .args(qemu.sandbox())
            .args(arguments(config, &paths))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut fds: Vec<_> = fds.into_iter().map(AsRawFd::as_raw_fd).collect();
        if let Some(streams) = &config.streams {
            let ends = [streams.output, streams.input, streams.memory];
            let ends = ends.into_iter().flatten();
            fds.extend(ends.map(|end| end.as_raw_fd()));
        }
        let started = Instant::now();
        let mut process = Process::spawn(command, &fds)
            .with_context(|| format!("cannot run {}", qemu.path.display()))?;
        let stderr = Channel::of(process.stderr().map(OwnedFd::from))?;
        Ok(Self {
            process,
            started,
            limits: config.limits,
            has_debugger: config.gdb.is_some(),
            channels: Channels {
                console,
                events,
                stderr,
            },
            received: Received::new(started, keep, config.token),
            command: by_hand(qemu, config),
            monitor: None,
            window: None,
            _stays: PhantomData,
        })
    }

    /// The command that repeats the run; with [`Config::keep`] its files exist.
    pub fn command_line(&self) -> &str {
        &self.command
    }

    /// Follows the VM to its end, and passes its events to `sink`.
    pub fn run(mut self, stop: &Stop, sink: Sink<'_>) -> Result<Finished> {
        let cause = match self.watch(stop, sink, |_| false) {
            Ok(Over::Cut(cause)) => Some(cause),
            Ok(Over::Enough | Over::Ended) => None,
            Err(error) => lost(&error),
        };
        let status = self.process.end().context("cannot wait for QEMU")?;
        let left = self.empty(sink).err().and_then(|error| lost(&error));
        // Report the first problem.
        let cause = cause.or(left);
        let stderr = String::from_utf8_lossy(&self.received.stderr).into_owned();
        let ending = cause.unwrap_or_else(|| self.received.ending(status, &stderr));
        Ok(Finished {
            ending,
            console: self.received.console,
            stderr,
            garbage: self.received.garbage,
            elapsed: self.started.elapsed(),
            command: self.command,
        })
    }

    /// The splats so far.
    pub(super) fn splats(&self) -> &[Splat] {
        self.received.console.splats()
    }

    /// Follows the VM until it waits to be saved; `false` if it ended or exceeded a limit before.
    pub(super) fn until_waiting(&mut self, stop: &Stop, sink: Sink<'_>) -> Result<bool> {
        let over = self.watch(stop, sink, |received| received.waiting)?;
        Ok(matches!(over, Over::Enough))
    }

    /// Reads until `enough` returns true, QEMU ends, or there is a reason to end it.
    fn watch(
        &mut self,
        stop: &Stop,
        sink: Sink<'_>,
        enough: impl Fn(&Received) -> bool,
    ) -> Result<Over> {
        loop {
            let ready = self.wait(stop, self.deadline(sink).0)?;
            if ready.stop {
                return Ok(Over::Cut(Ending::Interrupted));
            }
            if ready.exited {
                return Ok(Over::Ended);
            }
            // Before the limits are checked: the harness itself may have been stopped for a while.
            self.read(sink)?;
            if enough(&self.received) {
                return Ok(Over::Enough);
            }
            let bytes = self.received.event_bytes;
            if bytes > EVENT_BYTES {
                return Ok(Over::Cut(Ending::Flooded { bytes }));
            }
            if self.received.console_floods() {
                let (message, _) = self.received.console.latest();
                let message = format!("it prints only reports, the last is: {message}");
                return Ok(Over::Cut(Ending::KernelHung { message }));
            }
            let (deadline, cause) = self.deadline(sink);
            if deadline <= Instant::now() {
                return Ok(cause.map_or(Over::Ended, Over::Cut));
            }
        }
    }

    /// The next deadline, and how the VM ends then.
    fn deadline(&self, sink: Sink<'_>) -> (Instant, Option<Ending>) {
        if self.has_debugger {
            return (after(self.started, Duration::MAX), None);
        }
        let Limits {
            time_limit,
            first_output,
            idle_timeout,
            stall,
            program,
            shutdown_grace,
        } = self.limits;
        let idle_timeout = match first_output {
            Some(first_output) if !self.received.anything => idle_timeout.min(first_output),
            _ => idle_timeout,
        };
        if let Some(ending_since) = self.received.ending_since {
            return (after(ending_since, shutdown_grace), None);
        }
        if let (Some(since), Some(program)) = (self.received.running, program) {
            let cause = Ending::TimedOut { limit: program };
            return (after(since, program), Some(cause));
        }
        let mut first = (
            after(self.started, time_limit),
            Ending::TimedOut { limit: time_limit },
        );
        let mut sooner = |at: Instant, cause: Ending| {
            if at < first.0 {
                first = (at, cause);
            }
        };
        sooner(
            after(self.received.last_output, idle_timeout),
            Ending::IdleTimeout {
                limit: idle_timeout,
            },
        );
        if let Some(stalled) = self.received.stalled {
            let message = self.received.console.latest().1.to_owned();
            sooner(after(stalled, stall), Ending::KernelHung { message });
        }
        if let Some((at, what)) = sink.deadline() {
            sooner(at, Ending::Overdue { what });
        }
        (first.0, Some(first.1))
    }

    fn wait(&self, stop: &Stop, deadline: Instant) -> Result<Ready> {
        let limit = deadline.saturating_duration_since(Instant::now());
        let mut fds: Vec<PollFd<'_>> = [stop.readable(), self.process.exited()]
            .into_iter()
            .chain(self.channels.open())
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, Timespec::try_from(limit).ok().as_ref()) {
            Ok(_) => {
                let ready = |at: usize| !fds[at].revents().is_empty();
                Ok(Ready {
                    stop: ready(0),
                    exited: ready(1),
                })
            }
            Err(Errno::INTR) => Ok(Ready {
                stop: false,
                exited: false,
            }),
            Err(error) => Err(error).context("cannot wait for QEMU"),
        }
    }

    /// Reads once from every channel; whether one had data.
    fn read(&mut self, sink: Sink<'_>) -> Result<bool> {
        let mut buffer = [0; 64 << 10];
        let (channels, received) = (&mut self.channels, &mut self.received);
        let console = channels.console.read(&mut buffer)?;
        received.console(&buffer[..console], sink)?;
        let events = channels.events.read(&mut buffer)?;
        received.events(&buffer[..events], sink)?;
        // The guest does not need the archive after the first event, and programs in the guest must not read it.
        if received.event_bytes > 0
            && let Some(window) = self.window.take()
        {
            template::empty(&window)?;
        }
        let stderr = channels.stderr.read(&mut buffer)?;
        received.stderr(&buffer[..stderr]);
        Ok(console + events + stderr > 0)
    }

    /// Reads the rest of the channels without waiting: a process that QEMU left may keep them open.
    fn empty(&mut self, sink: Sink<'_>) -> Result<()> {
        for _ in 0..LAST_READS {
            if !self.read(sink)? {
                break;
            }
        }
        self.received.finish(sink);
        Ok(())
    }
}

/// The harness could not follow the VM to its end.
fn lost(error: &anyhow::Error) -> Option<Ending> {
    let reason = format!("{error:#}");
    Some(Ending::Lost { reason })
}

/// The sum, limited to a century so that it is in range.
fn after(start: Instant, duration: Duration) -> Instant {
    start + duration.min(Duration::from_secs(100 * 365 * 24 * 3600))
}

/// Why [`Vm::watch`] returned.
enum Over {
    /// `enough` returned true.
    Enough,
    /// The VM ended, or its shutdown grace is over.
    Ended,
    /// The harness must end it, for this cause.
    Cut(Ending),
}

struct Ready {
    stop: bool,
    exited: bool,
}
