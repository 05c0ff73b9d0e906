//! The BTF of kernels and modules on disk.

use anyhow::{Context as _, Result};
use fexit::{Btf, Endianness};
use object::{Object as _, ObjectSection as _};

use crate::kernels::files::modules;
use crate::kernels::{Kernel, Kernels};

impl Kernels {
    /// The types of a kernel, from its image.
    pub fn btf(&self, kernel: &Kernel) -> Result<Btf> {
        let read = || {
            let vmlinux = self.vmlinux(kernel)?;
            let bytes = section(&vmlinux)?
                .context("it has no BTF: it was built without CONFIG_DEBUG_INFO_BTF")?;
            Ok(Btf::parse(&bytes, Endianness::default())?)
        };
        let read: Result<Btf> = read();
        read.with_context(|| format!("kernel {}", kernel.release))
    }
}

/// The types of a module; none if the kernel has no file of that module, or the file has no BTF.
pub fn of_module(kernel: &Kernel, base: &Btf, name: &str) -> Result<Option<Btf>> {
    let Some(path) = modules::file(kernel, name)? else {
        return Ok(None);
    };
    let context = || format!("kernel {}, module {name}", kernel.release);
    let module = modules::read_module(&path)?;
    let Some(bytes) = section(&module).with_context(context)? else {
        return Ok(None);
    };
    let btf = Btf::parse_split(&bytes, base).with_context(context)?;
    Ok(Some(btf))
}

/// The `.BTF` section of an ELF file.
fn section(file: &[u8]) -> Result<Option<Vec<u8>>> {
    let file = object::File::parse(file)?;
    let Some(section) = file.section_by_name(".BTF") else {
        return Ok(None);
    };
    Ok(Some(section.uncompressed_data()?.into_owned()))
}
