//! `harness shell`: a shell in a VM.

use std::{ffi::OsString, time::Duration};

use anyhow::{Context as _, Result};
use protocol::job;

use super::{
    environment, gdb,
    guest::{self, Guest},
    status, terminal,
};
use crate::{
    cli::exec::ShellArgs,
    initramfs::host_files::{HostFiles, error::ProgramError},
    report::terminal::Board,
    session::plan,
    support::interrupt::Interrupt,
};

/// The tools for the shell.
const TOOLS: &[&str] = &[
    "awk",
    "basename",
    "bpftool",
    "busybox",
    "cat",
    "chmod",
    "clear",
    "cmp",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "dmesg",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "getconf",
    "grep",
    "head",
    "hexdump",
    "hostname",
    "id",
    "ip",
    "kill",
    "less",
    "ln",
    "ls",
    "lsmod",
    "mkdir",
    "mknod",
    "mktemp",
    "more",
    "mount",
    "mv",
    "nproc",
    "od",
    "perf",
    "pgrep",
    "ping",
    "pkill",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sleep",
    "sort",
    "ss",
    "stat",
    "strace",
    "stty",
    "sync",
    "sysctl",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "top",
    "touch",
    "tr",
    "tracepath",
    "true",
    "truncate",
    "tty",
    "umount",
    "uname",
    "uniq",
    "vi",
    "watch",
    "wc",
    "which",
    "xargs",
    "yes",
];

/// Runs the shell, prints errors, and returns the exit status.
pub fn run(args: &ShellArgs) -> u8 {
    status(|interrupt| shell(args, interrupt))
}

fn shell(args: &ShellArgs, interrupt: &Interrupt) -> Result<u8> {
    let mut host_files = HostFiles::new(guest::arch(&args.vm)?);
    let shell = pack(&mut host_files)?;
    let folder = std::env::current_dir().context("there is no current directory")?;
    let folder = host_files.working_dir(&folder)?;
    let has_terminal = terminal::is_there();
    let mut environment = environment::of_program(&args.vm.environment)?;
    if has_terminal {
        let kernel = args.vm.kernel.as_deref().unwrap_or("vm");
        environment.push(("PS1".into(), format!("{kernel} # ").into()));
    }
    let command = job::Command {
        arguments: vec![shell.file_name().unwrap_or(shell.as_os_str()).to_owned()],
        program: OsString::from(shell),
        environment,
        folder: folder.into(),
        streams: if has_terminal {
            job::Streams::Terminal(terminal::size())
        } else {
            job::Streams::All
        },
        mounts: Vec::new(),
        out: Vec::new(),
    };
    let board = Board::new(args.vm.verbose);
    let usual: Vec<_> = plan::catalog()?
        .into_iter()
        .flat_map(|scenario| scenario.modules)
        .collect();
    let guest = Guest::prepare(&args.vm, host_files, command, &usual, &board, interrupt)?;
    let symbols = gdb::symbols(&guest, &board, interrupt)?;
    guest
        .run(Duration::MAX, symbols.as_ref(), interrupt)?
        .report(interrupt, 0)
}

/// Adds the tools and bash, or sh if there is no bash. Returns the path of the shell.
fn pack(host_files: &mut HostFiles) -> Result<std::path::PathBuf, ProgramError> {
    for tool in TOOLS {
        // A missing or damaged tool is left out.
        let _ = host_files.program(tool.as_ref());
    }
    terminal::add_description(host_files)?;
    host_files
        .program("bash".as_ref())
        .or_else(|_| host_files.program("sh".as_ref()))
}
