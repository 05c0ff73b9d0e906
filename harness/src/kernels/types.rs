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
            let bytes = match vmlinux.starts_with(b"\x7fELF") {
                true => section(&vmlinux)?,
                false => blob(&vmlinux).map(<[u8]>::to_vec),
            };
            let bytes =
                bytes.context("it has no BTF: it was built without CONFIG_DEBUG_INFO_BTF")?;
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

/// The BTF in an Image of arm64, which has no section headers: the largest data with a valid header.
fn blob(image: &[u8]) -> Option<&[u8]> {
    /// Magic number, version and flags, and the length of the header.
    const START: [u8; 8] = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    let at = memchr::memmem::find_iter(image, &START);
    let blobs = at.filter_map(|at| {
        let header = image.get(at + START.len()..at + 24)?;
        let mut words = header.chunks_exact(4).map(|word| {
            let word: [u8; 4] = word.try_into().unwrap_or_default();
            u32::from_le_bytes(word) as usize
        });
        let [types, types_len, strings, strings_len] = std::array::from_fn(|_| words.next());
        let (types_len, strings_len) = (types_len?, strings_len?);
        // The kernel's own has its names right after the types.
        let is_whole = types? == 0 && strings? == types_len && strings_len > 0;
        let end = at.checked_add(24 + types_len)?.checked_add(strings_len)?;
        is_whole.then(|| image.get(at..end)).flatten()
    });
    blobs.max_by_key(|blob| blob.len())
}

/// The `.BTF` section of an ELF file.
fn section(file: &[u8]) -> Result<Option<Vec<u8>>> {
    let file = object::File::parse(file)?;
    let Some(section) = file.section_by_name(".BTF") else {
        return Ok(None);
    };
    Ok(Some(section.uncompressed_data()?.into_owned()))
}
