//! The symbols for a debugger, and how to connect it.

use std::path::PathBuf;

use crate::{report::terminal::Line, vm::gdb::Gdb};

/// A function of every kernel, for the example.
const EXAMPLE: &str = "vfs_read";

/// The symbols of a kernel, and what they are.
pub(super) struct Symbols {
    pub(super) path: Option<PathBuf>,
    pub(super) what: String,
}

impl Symbols {
    /// Prints how to connect.
    pub(super) fn announce(&self, gdb: &Gdb, line: &Line) {
        line.note(&format!(
            "the VM waits for a debugger; {}. In another terminal:\n    {}\n    \
            (gdb) hbreak *{EXAMPLE}     # not `break` yet: the kernel is not in memory before it boots\n    \
            (gdb) continue",
            self.what,
            gdb.command(self.path.as_deref()),
        ));
    }
}
