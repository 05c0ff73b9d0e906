//! The process that executes a command of the host.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, stdin};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{ioctl_tiocsctty, setsid};

/// The argument that makes this binary execute a command.
pub(crate) const COMMAND: &str = "session";

/// The exit statuses of shells for a command that cannot be executed, and for one that is not found.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The process that runs a command in a new session. If its standard input is a terminal, that is the controlling
/// terminal.
pub(crate) fn command(spec: &protocol::job::Command) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args([COMMAND.as_ref(), spec.folder.as_os_str(), &spec.program])
        .args(&spec.arguments)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// Executes the command. Returns only after an error.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let [folder, program, name, arguments @ ..] = arguments else {
        eprintln!("usage: init {COMMAND} FOLDER PROGRAM NAME [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let shown = Path::new(program).display();
    if let Err(error) = enter(folder) {
        eprintln!("cannot run {shown}: {error}");
        return ExitCode::from(CANNOT_RUN);
    }
    let error = Command::new(program).arg0(name).args(arguments).exec();
    match error.kind() {
        ErrorKind::NotFound if Path::new(program).exists() => {
            eprintln!("cannot run {shown}: its interpreter or dynamic loader is not in the VM");
        }
        _ => eprintln!("cannot run {shown}: {error}"),
    }
    ExitCode::from(match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_RUN,
    })
}

fn enter(folder: &OsString) -> io::Result<()> {
    setsid()?;
    if stdin().is_terminal() {
        ioctl_tiocsctty(stdin())?;
    }
    std::env::set_current_dir(folder).map_err(|error| {
        let folder = Path::new(folder).display();
        io::Error::new(
            error.kind(),
            format!("cannot change to the working directory {folder}: {error}"),
        )
    })
}
