//! `--gdb`: finds the symbols for a debugger.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use protocol::job;

use super::{guest::Guest, status::FAILED, symbols::Symbols};
use crate::{
    cli::exec::VmArgs,
    initramfs::host_files::HostFiles,
    kernels::{Arch, Kernel, Kernels, files::symbols as elf},
    report::terminal::Board,
    support::{atomic, error::usage, interrupt::Interrupt},
    vm::options::MachineArgs,
};

/// The time limit for `true` in the VM whose kernel lists its symbols.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The symbols for `--gdb`; none without that option.
pub(super) fn symbols(
    guest: &Guest<'_>,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Option<Symbols>> {
    let Guest {
        args,
        kernels,
        kernel,
        ..
    } = guest;
    if !args.gdb {
        return Ok(None);
    }
    if kernel.arch != Arch::X86_64 {
        return Err(usage(format!(
            "--gdb is for kernels of x86-64, not of {}",
            kernel.arch
        )));
    }
    Ok(Some(find(args, kernels, kernel, board, interrupt)))
}

/// Those of a `vmlinux` of the same build, otherwise those that the kernel itself lists, from the cache or from a VM.
fn find(
    args: &VmArgs,
    kernels: &Kernels,
    kernel: &Kernel,
    board: &Board,
    interrupt: &Interrupt,
) -> Symbols {
    let files = elf::debug_files(kernel);
    let vmlinux = kernels.vmlinux(kernel).unwrap_or_default();
    if let Some(path) = elf::with_symbols(files, &vmlinux) {
        return Symbols {
            what: format!("the symbols are those of {}", path.display()),
            path: Some(path),
        };
    }
    let path = kernels.symbols(kernel);
    let listed = match path.exists() {
        true => Ok(()),
        false => list(args, &path, board, interrupt),
    };
    match listed {
        Ok(()) => Symbols {
            path: Some(path),
            what: "the symbols are those of /proc/kallsyms: names and addresses, without types and lines; \
                no vmlinux of this build with more is next to the image or below /usr/lib/debug"
                .to_owned(),
        },
        Err(why) => Symbols {
            path: None,
            what: format!("there are no symbols: {why:#}"),
        },
    }
}

/// Boots the kernel as the debugger will see it, and writes an ELF file of its symbols.
fn list(args: &VmArgs, path: &Path, board: &Board, interrupt: &Interrupt) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let copy = folder.path().join("kallsyms");
    let mut out = std::ffi::OsString::from("/proc/kallsyms:");
    out.push(&copy);
    let args = VmArgs {
        kernel: args.kernel.clone(),
        kernel_image: args.kernel_image.clone(),
        modules: args.modules.clone(),
        requested_modules: Vec::new(),
        files: Vec::new(),
        mounts: Vec::new(),
        out: vec![out],
        environment: Vec::new(),
        memory: None,
        cpus: 1,
        accel: args.accel,
        no_template: true,
        gdb: false,
        keep: None,
        machine: MachineArgs {
            append: vec!["nokaslr".to_owned()],
            max_vms: args.machine.max_vms,
            ..MachineArgs::default()
        },
        verbose: args.verbose,
        store: args.store.clone(),
    };
    let mut host_files = HostFiles::new(super::guest::arch(&args)?);
    let command = job::Command {
        program: host_files.program("true".as_ref())?.into(),
        arguments: vec!["true".into()],
        environment: Vec::new(),
        folder: "/".into(),
        streams: job::Streams::Output,
        mounts: Vec::new(),
        out: Vec::new(),
    };
    let guest = Guest::prepare(&args, host_files, command, &[], board, interrupt)?;
    let status = guest
        .run(TIME_LIMIT, None, interrupt)?
        .report(interrupt, FAILED)?;
    ensure!(
        status == 0,
        "the VM that should list them ended with status {status}"
    );
    let kallsyms = fs::read_to_string(&copy).context("cannot read its /proc/kallsyms")?;
    let elf = elf::elf(&kallsyms)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)
        .and_then(|()| atomic::write(path, &elf))
        .with_context(|| format!("cannot write {}", path.display()))
}
