//! The terminal, while a program in a VM uses it.

use std::{
    io::{self, IsTerminal as _, stdin, stdout},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use protocol::frame::Window;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::{
    initramfs::host_files::{HostFiles, error::ProgramError},
    support::error::usage,
};

/// Whether stdin and stdout are a terminal.
pub(super) fn is_there() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// An error unless stdin and stdout are a terminal.
pub(super) fn require() -> Result<()> {
    let why = match (stdin().is_terminal(), stdout().is_terminal()) {
        (true, true) => return Ok(()),
        (false, _) => "stdin is not a terminal; --stdin passes it to the program",
        (true, false) => "stdout is not a terminal",
    };
    Err(usage(format!("--tty: {why}")))
}

/// The folders of terminal descriptions.
const TERMINFO: [&str; 3] = ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"];

/// Adds the description of this terminal, if there is one, for programs that move the cursor.
pub(super) fn add_description(host_files: &mut HostFiles) -> Result<(), ProgramError> {
    let term = std::env::var("TERM").unwrap_or_default();
    for folder in TERMINFO {
        let initial: String = term.chars().take(1).collect();
        let path = Path::new(folder).join(initial).join(&term);
        if path.is_file() {
            host_files.file(&path, None)?;
        }
    }
    Ok(())
}

/// Its size, or the default size if it is unknown.
pub(super) fn size() -> Window {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => Window {
            rows: size.ws_row,
            columns: size.ws_col,
        },
        _ => Window {
            rows: 24,
            columns: 80,
        },
    }
}

/// Raw mode: every key goes to the program, also Ctrl-C. Dropping it restores the terminal.
#[derive(Debug)]
pub(super) struct Raw {
    before: Termios,
    restorer: Option<Child>,
}

impl Raw {
    pub(super) fn enter() -> Result<Self> {
        let before = tcgetattr(stdin()).context("cannot read the terminal's settings")?;
        let raw = Self {
            restorer: restorer().ok(),
            before,
        };
        let mut settings = raw.before.clone();
        settings.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &settings)
            .context("cannot change the terminal's settings")?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        if let Some(restorer) = &mut self.restorer {
            let _ = restorer.kill();
            let _ = restorer.wait();
        }
    }
}

/// A process that restores the terminal if the harness dies without that, as by SIGKILL: then its stdin ends.
fn restorer() -> io::Result<Child> {
    let settings = Command::new("stty")
        .arg("-g")
        .stdin(Stdio::inherit())
        .output()?;
    let settings = String::from_utf8_lossy(&settings.stdout).trim().to_owned();
    let script = r#"trap "" HUP INT QUIT TERM TSTP TTIN TTOU; read -r never; stty "$0" <&1"#;
    Command::new("sh")
        .args(["-c", script, &settings])
        .stdin(Stdio::piped())
        .stdout(stdin().as_fd().try_clone_to_owned()?)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Finds the keys for the harness.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Whether the last key was Ctrl-A.
    escaped: bool,
}

impl Keys {
    const CTRL_A: u8 = 1;

    /// The keys for the program; `None` after Ctrl-A X. Ctrl-A twice is one Ctrl-A.
    pub(super) fn filter(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let mut keys = Vec::with_capacity(typed.len() + 1);
        for &key in typed {
            match (std::mem::take(&mut self.escaped), key) {
                (true, b'x' | b'X') => return None,
                (true, Self::CTRL_A) => keys.push(key),
                (true, _) => keys.extend([Self::CTRL_A, key]),
                (false, Self::CTRL_A) => self.escaped = true,
                (false, _) => keys.push(key),
            }
        }
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_x_leaves_and_other_keys_pass() {
        let typed = |chunks: &[&[u8]]| {
            let mut keys = Keys::default();
            let filtered = chunks.iter().map(|chunk| keys.filter(chunk));
            filtered.collect::<Option<Vec<_>>>().map(|all| all.concat())
        };
        assert_eq!(typed(&[b"ls\r\x03\xff"]), Some(b"ls\r\x03\xff".to_vec()));
        assert_eq!(typed(&[b"a\x01\x01b"]), Some(b"a\x01b".to_vec()));
        assert_eq!(typed(&[b"\x01", b"\x01x"]), Some(b"\x01x".to_vec()));
        assert_eq!(typed(&[b"\x01k"]), Some(b"\x01k".to_vec()));
        for leaves in [&[&b"ls\x01x"[..]][..], &[b"\x01", b"X"]] {
            assert_eq!(typed(leaves), None, "{leaves:?}");
        }
    }
}
