//! A VM for one program: its files, its boot, and the result.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use protocol::job::{self, Job, Work};

use super::{
    listener::Listener,
    out::{self, Copies, Copy},
    ran::Ran,
    relay::Channels,
    symbols::Symbols,
};
use crate::{
    cli::exec::VmArgs,
    initramfs::{cpio, guest as built_in, host_files::HostFiles, kernel_config},
    kernels::{Arch, Kernel, Kernels, files::modules, sources::local},
    report::terminal::{Board, Line},
    session::fast_boot::Boot,
    support::{
        error::usage,
        interrupt::{Interrupt, TICK},
    },
    vm::{
        self, Config, Ending, Limits, Qemu, Streams, Templates, Vm, VmEvent,
        gdb::Gdb,
        mounts::{self, Mount, Shares, Virtiofsd},
        slots,
    },
};

/// The minimum memory of a VM, and its memory in addition to the files.
const MEMORY_MIB: u32 = 512;
const ROOM_MIB: u32 = 256;

/// How long QEMU may take to make the socket for a debugger, in ticks of 50 ms.
const SOCKET_TICKS: u32 = 200;

const NO_VIRTIOFS: &str =
    "--mount needs a kernel with virtiofs (CONFIG_VIRTIO_FS, CONFIG_VIRTIO_PCI)";

/// The parts of a VM for a program.
pub(super) struct Guest<'a> {
    pub(super) args: &'a VmArgs,
    /// Shows the progress until the program runs, which then owns the terminal.
    line: Line,
    pub(super) kernels: Arc<Kernels>,
    pub(super) kernel: Kernel,
    initramfs: Vec<u8>,
    memory_mib: u32,
    streams: job::Streams,
    out: Vec<Copy>,
    mounts: Vec<Mount>,
    /// For the mounts, if there are some.
    virtiofsd: Option<Virtiofsd>,
}

impl<'a> Guest<'a> {
    /// Makes the initramfs. Without --module it has those of the `usual` modules that the kernel has.
    pub(super) fn prepare(
        args: &'a VmArgs,
        mut host_files: HostFiles,
        mut command: job::Command,
        usual: &'a [String],
        board: &Board,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let out = out::plan(&args.out, Path::new(&command.folder))?;
        command.out = out::guest_paths(&out);
        let mounts = args.mounts.iter().map(|mount| Mount::parse(mount));
        let mounts = mounts.collect::<Result<Vec<_>>>()?;
        let virtiofsd = match mounts.as_slice() {
            [] => None,
            mounts => Some(Virtiofsd::find(mounts)?),
        };
        command.mounts = mounts
            .iter()
            .map(|mount| job::Mount {
                target: mount.guest.clone().into(),
                read_only: mount.read_only,
            })
            .collect();
        for file in &args.files {
            host_files.named_file(file)?;
        }
        host_files
            .text(
                "/etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
            )
            .text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
            .text("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
        host_files.dir(Path::new("/root"), 0o700)?;
        host_files.dir(Path::new("/tmp"), 0o1777)?;
        host_files.dir(Path::new("/run"), 0o755)?;

        let kernels = Arc::new(Kernels::open(args.store.clone())?);
        let kernel = find_kernel(args, &kernels, board, interrupt)?;
        let line = board.line(&kernel.requested);
        for note in host_files.notes() {
            line.note(note);
        }
        command
            .environment
            .push(("FEXIT_VM".into(), kernel.release.clone().into()));
        let streams = command.streams;
        let mut job = Job::new(Work::Command(command));
        let mut names: Vec<&str> = args.requested_modules.iter().map(String::as_str).collect();
        if names.is_empty() {
            names = usual.iter().map(String::as_str).collect();
            names.retain(|name| modules::closure(&kernel, &[name]).is_ok());
        }
        let mut files = modules::closure(&kernel, &names)?;
        // A kernel without modules may have it built in.
        if !mounts.is_empty() && kernel.modules.is_some() {
            names.extend(mounts::MODULES);
            files = modules::closure(&kernel, &names).context(NO_VIRTIOFS)?;
        }
        let mut modules = Vec::new();
        for (name, path) in files {
            modules.push((format!("{name}.ko"), modules::read_module(&path)?));
            job.modules.push(name);
        }
        let memory_mib = args.memory.unwrap_or_else(|| memory_for(host_files.size()));
        let mut image = cpio::start(built_in::of(kernel.arch)?.init, &job, &modules)?;
        host_files.add_to(&mut image)?;
        kernel_config::add(&kernel, &mut image)?;
        Ok(Self {
            args,
            line,
            kernels,
            kernel,
            initramfs: image.to_bytes(),
            memory_mib,
            streams,
            out,
            mounts,
            virtiofsd,
        })
    }

    /// Runs the program after the fastest boot. If the program does not start, tries once more with a plain boot.
    ///
    /// With `symbols`, the VM waits for a debugger. Ends the line of the kernel.
    pub(super) fn run(
        self,
        limit: Duration,
        symbols: Option<&Symbols>,
        interrupt: &Interrupt,
    ) -> Result<Ran> {
        let arch = self.kernel.arch;
        let cache = self.kernels.cache_dir();
        let qemu = Qemu::find(arch, cache)?;
        let accelerator = vm::accel::choose(self.args.accel, arch, cache)?;
        let line = &self.line;
        let machine = &self.args.machine;
        let _slot = slots::take(cache, machine.max_vms, interrupt.stop(), |why| {
            line.note(why);
        })?;
        let fastest = Boot::fastest(&self.kernels, &self.kernel, accelerator, line)?;
        let mut config = Config::new(
            &fastest.image,
            &self.initramfs,
            fastest.accelerator.accelerator,
        );
        config.arch = arch;
        config.kernel_args = machine.kernel_args(&fastest.arguments);
        config.qemu_args.clone_from(&machine.qemu_args);
        config.memory_mib = self.memory_mib;
        config.cpus = self.args.cpus;
        config.keep = self.args.keep.as_deref();
        config.limits = Limits {
            program: Some(limit),
            ..Limits::default()
        };
        config.streams = Some(Streams::default());
        if let Some(symbols) = symbols {
            return self.debugged(&qemu, &config, symbols, interrupt);
        }
        if let Some(ran) = self.restored(&qemu, &config, &fastest, interrupt) {
            return Ok(ran);
        }
        let ran = self.boot(&qemu, &config, interrupt)?;
        if ran.began || interrupt.stop().requested() {
            return Ok(ran);
        }
        let why = ran.finished.ending.to_string();
        let hint = fastest.accelerator.hint();
        line.note(&format!("tried once more, because: {why}{hint}"));
        let again = Boot::plain(&self.kernel, fastest.accelerator.clone());
        config.kernel = &again.image;
        config.kernel_args = machine.kernel_args(&again.arguments);
        self.boot(&qemu, &config, interrupt)
    }

    /// Runs the program in a VM that waits for a debugger, which may end it at any time: there is no second try.
    fn debugged(
        &self,
        qemu: &Qemu,
        config: &Config<'_>,
        symbols: &Symbols,
        interrupt: &Interrupt,
    ) -> Result<Ran> {
        let gdb = Gdb::new()?;
        let socket = gdb.socket();
        let config = Config {
            gdb: Some(&socket),
            ..config.clone()
        };
        let waits = || {
            for _ in 0..SOCKET_TICKS {
                if socket.exists() {
                    symbols.announce(&gdb, &self.line);
                    return;
                }
                // Without a socket QEMU has failed, and says why.
                if interrupt.stop().wait(TICK) {
                    return;
                }
            }
        };
        self.boot_and(waits, qemu, &config, interrupt)
    }

    /// Runs the program in a restored VM; `None` if there is no template or the program does not start.
    fn restored(
        &self,
        qemu: &Qemu,
        config: &Config<'_>,
        boot: &Boot,
        interrupt: &Interrupt,
    ) -> Option<Ran> {
        let line = &self.line;
        let templates = Templates::if_they_pay(self.kernels.cache_dir(), config.accelerator)
            .filter(|_| !self.args.no_template && self.args.machine.allows_template())
            .filter(|_| self.mounts.is_empty())?;
        let template = boot.template(&templates, (qemu, config), interrupt.stop(), line)?;
        let config = config.starting_from(&template);
        let why = match self.boot(qemu, &config, interrupt) {
            Ok(ran) if ran.began || interrupt.stop().requested() => return Some(ran),
            Ok(ran) => ran.finished.ending.to_string(),
            Err(error) => format!("{error:#}"),
        };
        line.detail(&format!("restoring the template failed: {why}"));
        if let Err(why) = templates.discard(&template) {
            line.detail(&format!("{why:#}"));
        }
        None
    }

    fn boot(&self, qemu: &Qemu, config: &Config<'_>, interrupt: &Interrupt) -> Result<Ran> {
        self.boot_and(|| (), qemu, config, interrupt)
    }

    /// Starts the VM, calls `started`, and follows the VM to its end.
    fn boot_and(
        &self,
        started: impl FnOnce(),
        qemu: &Qemu,
        config: &Config<'_>,
        interrupt: &Interrupt,
    ) -> Result<Ran> {
        let channels = Channels::new(self.streams != job::Streams::Output)?;
        let line = &self.line;
        line.phase("booting");
        let mut shares = match &self.virtiofsd {
            Some(program) => Some(Shares::start(program, &self.mounts)?),
            None => None,
        };
        let config = Config {
            streams: Some(channels.theirs()),
            mounts: shares.as_ref().map_or_else(Vec::new, Shares::sockets),
            ..config.clone()
        };
        let vm = Vm::start(qemu, &config)?;
        line.detail(vm.command_line());
        started();
        let files = Copies::new(&self.out);
        let mut listener = Listener::new(self.streams, line, channels.ours(), files);
        let finished = vm.run(interrupt.stop(), &mut |event: VmEvent| {
            listener.take(event, interrupt);
        })?;
        let began = listener.relay.is_some();
        if let Some(why) = shares.as_mut().filter(|_| !began).and_then(Shares::failure) {
            bail!(why);
        }
        let (output, files) = match listener.relay {
            // After an interrupt do not wait for a reader of the output that has stopped reading.
            Some(relay) if finished.ending != Ending::Interrupted || relay.is_finished() => {
                relay.finish()?
            }
            _ => (Ok(()), Copies::new(&self.out)),
        };
        let (not_copied, notes) = files.finish();
        for note in notes {
            eprintln!("harness: {note}");
        }
        Ok(Ran {
            finished,
            began,
            exit: listener.exit,
            left: listener.left.load(Ordering::SeqCst),
            output,
            not_copied,
        })
    }
}

/// The memory in MiB for this many bytes of files. The archive and the unpacked files are in memory at the same time. Only
/// powers of two, since each size needs its own template.
fn memory_for(files: u64) -> u32 {
    let files_mib = u32::try_from(files >> 20).unwrap_or(u32::MAX);
    let needed = files_mib.saturating_mul(2).saturating_add(ROOM_MIB);
    needed
        .checked_next_power_of_two()
        .unwrap_or(needed)
        .max(MEMORY_MIB)
}

/// The architecture of the kernel, by its name or its image.
pub(super) fn arch(args: &VmArgs) -> Result<Arch> {
    if let Some(image) = &args.kernel_image {
        return Ok(local::open(image, args.modules.as_deref())?.arch);
    }
    let named = args.kernel.as_deref().and_then(|name| Arch::split(name).1);
    let option = args.store.arch.first().copied();
    Ok(named.or(option).unwrap_or(Arch::host()))
}

/// Resolves and downloads the kernel.
fn find_kernel(
    args: &VmArgs,
    kernels: &Arc<Kernels>,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Kernel> {
    if let Some(image) = &args.kernel_image {
        return local::open(image, args.modules.as_deref());
    }
    let names = kernels.expand(args.kernel.as_slice())?;
    let [name] = names.as_slice() else {
        let count = names.len();
        let requested = args.kernel.as_deref().unwrap_or_default();
        return Err(usage(format!(
            "--kernel {requested} matches {count} kernels: name one"
        )));
    };
    let (kernels, line, name) = (Arc::clone(kernels), board.line(name), name.clone());
    interrupt.or_leave(move || {
        line.phase("resolving");
        let resolved = kernels.resolve(&name, &line)?;
        line.phase("fetching");
        kernels.fetch(&resolved, &line)
    })
}
