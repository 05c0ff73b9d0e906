//! The commands that run in the VM, and the host files that they need: `--prepare`, `--trigger`, `--command`, `--file`.

use std::{collections::BTreeSet, env, time::Duration};

use anyhow::{Context as _, Result};
use protocol::program::{ShellCommand, TIME_LIMIT};

use super::ObjectArgs;
use crate::initramfs::host_files::HostFiles;
use crate::kernels::Arch;
use crate::support::error::usage;

/// The commands, with their host files.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) prepare: Option<ShellCommand>,
    pub(super) trigger: Option<ShellCommand>,
    /// `None` if there are none.
    pub(super) host_files: Option<HostFiles>,
}

impl Commands {
    /// Reads the options. Also returns the command of `--command`.
    pub(super) fn parse(
        args: &ObjectArgs,
        arches: &BTreeSet<Arch>,
    ) -> Result<(Self, Option<ShellCommand>)> {
        if !args.files.is_empty() && args.objects.is_empty() && args.command.is_none() {
            return Err(usage("--file needs --object or --command"));
        }
        let arch = arches.first().copied().unwrap_or(Arch::host());
        let mut files = HostFiles::new(arch);
        let mut command = |option: &str, script: &Option<String>, limit: Duration| {
            let script = script.as_ref();
            let command = script.map(|script| command(&mut files, option, script, limit));
            command.transpose()
        };
        let prepare = command("--prepare", &args.prepare, TIME_LIMIT)?;
        let trigger = command("--trigger", &args.trigger, args.trigger_timeout)?;
        let own = command("--command", &args.command, args.command_timeout)?;
        for file in &args.files {
            let added = files.named_file(file);
            added.map_err(|error| usage(format!("--file {file}: {error}")))?;
        }
        if arches.len() > 1 && !files.is_empty() {
            return Err(usage(
                "commands and files of the host are for one architecture: name the kernels of one with --arch",
            ));
        }
        let has_commands = [&prepare, &trigger, &own].iter().any(|c| c.is_some());
        let commands = Self {
            prepare,
            trigger,
            host_files: (has_commands || !args.files.is_empty()).then_some(files),
        };
        Ok((commands, own))
    }
}

fn command(
    files: &mut HostFiles,
    option: &str,
    script: &str,
    limit: Duration,
) -> Result<ShellCommand> {
    let shell = files.command(&["sh".into(), "-c".into(), script.into()]);
    let shell = shell.map_err(|error| usage(format!("{option}: {error}")))?;
    let folder = env::current_dir().context("there is no current directory")?;
    files.dir(&folder, 0o755)?;
    Ok(ShellCommand {
        shell: shell.display().to_string(),
        script: script.to_owned(),
        folder: folder.display().to_string(),
        limit_s: limit.as_secs(),
        environment: Vec::new(),
    })
}
