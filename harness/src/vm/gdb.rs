//! A VM that waits for a debugger.

use std::{
    ffi::OsString,
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The longest path of a Unix socket.
const SOCKET_PATH: usize = 107;

/// The socket of QEMU's debugger stub, in a folder that only the user can enter. Both are removed when dropped.
#[derive(Debug)]
pub struct Gdb {
    folder: TempDir,
}

impl Gdb {
    /// Makes the folder; QEMU makes the socket.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("harness-gdb-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir();
        let gdb = Self {
            folder: folder.context("cannot create a folder for the debugger's socket")?,
        };
        let socket = gdb.socket();
        ensure!(
            socket.as_os_str().len() <= SOCKET_PATH,
            "the path of the debugger's socket is too long: {}; set TMPDIR to a shorter one",
            socket.display()
        );
        Ok(gdb)
    }

    /// The path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("gdb")
    }

    /// The command that connects a debugger.
    pub fn command(&self, symbols: Option<&Path>) -> String {
        let target = format!("target remote {}", self.socket().display());
        let mut arguments: Vec<OsString> = vec!["-ex".into(), target.into()];
        arguments.extend(symbols.map(OsString::from));
        super::shell_line::shell_line(Path::new("gdb"), &arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_is_private_and_the_command_names_it() {
        let gdb = Gdb::new().unwrap();
        let folder = gdb.socket().parent().unwrap().to_owned();
        assert_eq!(
            folder.metadata().unwrap().permissions().mode() & 0o777,
            0o700
        );
        let socket = gdb.socket().display().to_string();
        assert_eq!(
            gdb.command(Some(Path::new("/a b/symbols"))),
            format!("gdb -ex 'target remote {socket}' '/a b/symbols'")
        );
        assert_eq!(
            gdb.command(None),
            format!("gdb -ex 'target remote {socket}'")
        );
        drop(gdb);
        assert!(!folder.exists());
    }
}
