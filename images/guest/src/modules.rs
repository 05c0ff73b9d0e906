//! Loads kernel modules from the initramfs.

use std::fs::File;
use std::path::Path;

use protocol::job::MODULES_DIR;
use rustix::io::Errno;
use rustix::system::finit_module;

/// Loads a module by its name, unless it is loaded already. The error says why the kernel refused it.
pub(crate) fn load(name: &str) -> Result<(), String> {
    let path = Path::new(MODULES_DIR).join(format!("{name}.ko"));
    let file = File::open(&path)
        .map_err(|error| format!("cannot load module {name}: {}: {error}", path.display()))?;
    match finit_module(&file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOEXEC) => Err(format!(
            "cannot load module {name}: the kernel refused its format, as it does for a module of another kernel"
        )),
        Err(error) => Err(format!("cannot load module {name}: {error}")),
    }
}
