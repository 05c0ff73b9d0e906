//! `harness exec`: a program of this machine in a VM.

mod args;
mod environment;
mod relay;

use std::{
    path::{Component, Path},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use guest::{
    event::{Event, Exit},
    job::{self, Job, Work},
};

pub use self::args::{ExecArgs, VmArgs};
use self::relay::{Closed, Relay, Ways};
use crate::{
    error::{UsageError, usage},
    image,
    interrupt::Interrupt,
    kernel::{self, Kernel, Kernels, modules},
    kernels,
    program::{Luggage, ProgramError},
    progress::{Board, Line},
    recipe::Boot,
    vm::{self, Config, Ending, Finished, Limits, Qemu, Severity, Vm, VmEvent},
};

/// As `timeout` has them, and shells.
const TIMED_OUT: u8 = 124;
const FAILED: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
const BY_SIGNAL: u8 = 128;
const SIGPIPE: u8 = 13;

/// The memory of a VM whose files are small.
const MEMORY_MIB: u32 = 512;

/// Lines of the console that are shown when the VM broke down.
const CONSOLE_TAIL: usize = 20;

/// Runs the program, and returns the exit status. Nothing is left to the caller to say.
pub fn run(args: &ExecArgs) -> u8 {
    match program(args) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            status_of(&error)
        }
    }
}

/// The exit status for an error that kept the program from running to its end.
fn status_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::NotFound(_)) => NOT_FOUND,
        Some(ProgramError::NotExecutable { .. }) => CANNOT_RUN,
        _ if error.is::<UsageError>() => 2,
        _ => FAILED,
    }
}

fn program(args: &ExecArgs) -> Result<u8> {
    let interrupt = Interrupt::new().context("cannot listen for signals")?;
    let mut luggage = Luggage::new();
    let mut program = luggage.command(&args.command)?;
    // A script is told the path by which it was called.
    let name = Path::new(&args.command[0]);
    let is_plain = |part| !matches!(part, Component::ParentDir);
    if name.components().count() > 1 && name.components().all(is_plain) {
        program = name.to_owned();
    }
    let folder = std::env::current_dir().context("there is no current directory")?;
    luggage.dir(&folder, 0o755)?;
    let streams = if args.stdin {
        job::Streams::All
    } else {
        job::Streams::Output
    };
    let command = job::Command {
        program: program.into(),
        arguments: args.command.clone(),
        environment: environment::of_program(&args.vm.environment)?,
        folder: folder.into(),
        streams,
    };
    let board = Board::new(args.vm.verbose);
    let guest = Guest::prepare(&args.vm, luggage, command, &board, &interrupt)?;
    let ran = guest.run(args.timeout, &board, &interrupt)?;
    ran.tell(&interrupt)
}

/// Everything that a VM for a program is made of.
struct Guest<'a> {
    args: &'a VmArgs,
    name: String,
    kernels: Kernels,
    kernel: Kernel,
    initramfs: Vec<u8>,
    memory_mib: u32,
    has_input: bool,
}

/// What became of it.
struct Ran {
    finished: Finished,
    /// The program was started.
    began: bool,
    exit: Option<Exit>,
    output: Result<()>,
}

impl<'a> Guest<'a> {
    fn prepare(
        args: &'a VmArgs,
        mut luggage: Luggage,
        command: job::Command,
        board: &Board,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        for file in &args.files {
            let (from, to) = place(file);
            luggage.file(Path::new(from), to.map(Path::new))?;
        }
        luggage
            .text(
                "/etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
            )
            .text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
            .text("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
        luggage.dir(Path::new("/root"), 0o700)?;
        luggage.dir(Path::new("/tmp"), 0o1777)?;
        luggage.dir(Path::new("/run"), 0o755)?;

        let kernels = kernels::open(&args.store)?;
        let kernel = find_kernel(args, &kernels, board)?;
        anyhow::ensure!(!interrupt.stop().requested(), crate::interrupt::INTERRUPTED);
        let name = kernel.requested.clone();
        let line = board.line(&name);
        for note in luggage.notes() {
            line.note(note);
        }
        let has_input = command.streams != job::Streams::Output;
        let mut job = Job::new(Work::Command(command));
        let wanted: Vec<&str> = args.wanted_modules.iter().map(String::as_str).collect();
        let mut modules = Vec::new();
        for (name, path) in modules::closure(&kernel, &wanted)? {
            modules.push((format!("{name}.ko"), modules::read_module(&path)?));
            job.modules.push(name);
        }
        // The archive and what is unpacked from it are in memory together for a moment.
        let files_mib = u32::try_from(luggage.size() >> 20).unwrap_or(u32::MAX);
        let memory_mib = args
            .memory
            .unwrap_or_else(|| MEMORY_MIB + files_mib.saturating_mul(2));
        let mut image = image::start(image::INIT, &job, &modules)?;
        luggage.add_to(&mut image)?;
        Ok(Self {
            args,
            name,
            kernels,
            kernel,
            initramfs: image.to_bytes(),
            memory_mib,
            has_input,
        })
    }

    /// Boots as fast as can be. If that does not get as far as the program, the plain way is tried.
    fn run(&self, limit: Duration, board: &Board, interrupt: &Interrupt) -> Result<Ran> {
        let cache = self.kernels.cache_dir();
        let qemu = Qemu::find_known(cache)?;
        let accelerator = vm::accel::choose(self.args.accel, cache)?;
        let line = board.line(&self.name);
        let fastest = Boot::fastest(&self.kernels, &self.kernel, accelerator, &line)?;
        let mut config = Config::new(
            &fastest.image,
            &self.initramfs,
            fastest.accelerator.accelerator,
        );
        config.kernel_args.clone_from(&fastest.arguments);
        config.memory_mib = self.memory_mib;
        config.cpus = self.args.cpus;
        config.keep = self.args.keep.as_deref();
        config.limits = Limits {
            program: Some(limit),
            ..Limits::default()
        };
        let ran = self.boot(&qemu, &config, board, interrupt)?;
        if ran.began || interrupt.stop().requested() {
            return Ok(ran);
        }
        line.note(&format!(
            "tried once more, because: {}",
            ran.finished.ending
        ));
        config.kernel = &self.kernel.image;
        config.kernel_args.clear();
        self.boot(&qemu, &config, board, interrupt)
    }

    fn boot(
        &self,
        qemu: &Qemu,
        config: &Config<'_>,
        board: &Board,
        interrupt: &Interrupt,
    ) -> Result<Ran> {
        let ways = Ways::new(self.has_input)?;
        let line = board.line(&self.name);
        line.phase("booting");
        let config = Config {
            streams: Some(ways.theirs()),
            ..config.clone()
        };
        let vm = Vm::start(qemu, &config)?;
        line.detail(vm.command_line());
        let mut listener = Listener {
            line: Some(line),
            exit: None,
            relay: None,
            ends: Some(ways.ours()),
        };
        let finished = vm.run(interrupt.stop(), &mut |event| {
            listener.take(event, interrupt);
        })?;
        let began = listener.relay.is_some();
        let output = match listener.relay {
            // Whoever interrupts us does not want to wait for a reader of our output that has stopped reading.
            Some(relay) if finished.ending != Ending::Interrupted || relay.is_finished() => {
                relay.finish()
            }
            _ => Ok(()),
        };
        Ok(Ran {
            finished,
            began,
            exit: listener.exit,
            output,
        })
    }
}

/// Listens to the VM, beside the program's output.
struct Listener {
    /// Until the program begins: then the terminal is its own.
    line: Option<Line>,
    exit: Option<Exit>,
    relay: Option<Relay>,
    ends: Option<relay::Ends>,
}

impl Listener {
    fn take(&mut self, event: VmEvent, interrupt: &Interrupt) {
        match event {
            VmEvent::Guest(Event::Running) => {
                self.line = None;
                if let Some(ends) = self.ends.take() {
                    self.relay = Some(Relay::start(ends, interrupt.stop()));
                }
            }
            VmEvent::Guest(Event::Exited { how, .. }) => self.exit = Some(how),
            VmEvent::Guest(Event::Warning { message }) => eprintln!("harness: {message}"),
            VmEvent::Console(text) => {
                if let Some(line) = &self.line {
                    line.detail(&text);
                }
            }
            _ => {}
        }
    }
}

impl Ran {
    /// Says what is to be said, and returns the exit status.
    fn tell(self, interrupt: &Interrupt) -> Result<u8> {
        if let Some(status) = interrupt.exit_code() {
            return Ok(status);
        }
        match self.output {
            Err(error) if error.is::<Closed>() => return Ok(BY_SIGNAL + SIGPIPE),
            output => output?,
        }
        for splat in self.finished.console.splats() {
            if splat.severity != Severity::Panic {
                eprintln!("harness: the kernel complained: {}", splat.message);
            }
        }
        match (self.exit, &self.finished.ending) {
            (Some(Exit::Code(status)), _) => Ok(status),
            (Some(Exit::Signal(signal)), _) => {
                eprintln!("harness: the program was ended by signal {signal}");
                Ok(BY_SIGNAL.saturating_add(signal))
            }
            (None, Ending::TimedOut { .. }) => {
                eprintln!("error: the program was {}", self.finished.ending);
                Ok(TIMED_OUT)
            }
            (None, ending) => {
                for line in self.finished.console.last_lines(CONSOLE_TAIL) {
                    eprintln!("harness: console: {line}");
                }
                Err(anyhow!("{ending}, before the program was over"))
            }
        }
    }
}

/// The kernel that was asked for, with its files here.
fn find_kernel(args: &VmArgs, kernels: &Kernels, board: &Board) -> Result<Kernel> {
    if let Some(image) = &args.kernel_image {
        return kernel::local::open(image, args.modules.as_deref());
    }
    let wanted = args.kernel.as_slice();
    let names = kernels.expand(wanted)?;
    let [name] = names.as_slice() else {
        let count = names.len();
        let wanted = wanted.concat();
        return Err(usage(format!(
            "--kernel {wanted} stands for {count} kernels: name one"
        )));
    };
    let line = board.line(name);
    line.phase("resolving");
    let resolved = kernels.resolve(name, &line)?;
    line.phase("fetching");
    kernels.fetch(&resolved, &line)
}

/// `PATH` or `PATH:PLACE`; a path that is there as it stands may have colons in it.
fn place(file: &str) -> (&str, Option<&str>) {
    match file.rsplit_once(':') {
        Some((from, to)) if !Path::new(file).exists() => (from, Some(to)),
        _ => (file, None),
    }
}
