//! The loader and the libraries that an ELF file needs.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::PathBuf};

use object::{
    Endianness, elf,
    read::elf::{Dyn as _, FileHeader, ProgramHeader as _},
};

use crate::kernels::Arch;

/// The dynamic section of an ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Elf {
    /// The machine that it is for, as `EM_X86_64`.
    pub(super) machine: u16,
    /// Its loader, if it is dynamic.
    pub(super) interpreter: Option<PathBuf>,
    /// The names of its libraries.
    pub(super) needed: Vec<String>,
    /// The folders before `LD_LIBRARY_PATH`, also for the dependencies of its libraries.
    pub(super) rpath: Vec<String>,
    /// The folders after `LD_LIBRARY_PATH`.
    pub(super) runpath: Vec<String>,
}

impl Elf {
    /// Reads the file; `None` if it is not ELF.
    pub(super) fn read(data: &[u8]) -> object::read::Result<Option<Self>> {
        match data.get(..5) {
            Some([0x7f, b'E', b'L', b'F', class]) if *class == elf::ELFCLASS32 => {
                read::<elf::FileHeader32<Endianness>>(data).map(Some)
            }
            Some([0x7f, b'E', b'L', b'F', _]) => {
                read::<elf::FileHeader64<Endianness>>(data).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Whether it is a BPF object.
    pub(super) fn is_bpf(&self) -> bool {
        self.machine == elf::EM_BPF
    }

    /// Whether a kernel of this architecture can run it.
    pub(super) fn runs_on(&self, arch: Arch) -> bool {
        machines(arch).contains(&self.machine)
    }

    /// Whether a file with this beginning is not a program for another architecture.
    pub(super) fn fits(start: &[u8; 20], arch: Arch) -> bool {
        let machine = u16::from_le_bytes([start[18], start[19]]);
        !start.starts_with(&elf::ELFMAG) || machines(arch).contains(&machine)
    }
}

fn machines(arch: Arch) -> [u16; 2] {
    match arch {
        Arch::X86_64 => [elf::EM_X86_64, elf::EM_386],
        Arch::Arm64 => [elf::EM_AARCH64, elf::EM_ARM],
    }
}

fn read<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> object::read::Result<Elf> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let mut found = Elf {
        machine: header.e_machine(endian),
        ..Elf::default()
    };
    let mut entries = Vec::new();
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, data)? {
            found.interpreter = Some(OsStr::from_bytes(path).into());
        }
        let dynamic = segment.dynamic(endian, data)?.unwrap_or_default();
        let all = dynamic
            .iter()
            .map(|entry| (entry.tag(endian), entry.d_val(endian).into()));
        entries.extend(all.take_while(|(tag, _)| *tag != elf::DT_NULL));
    }
    // Section headers may be stripped, so the names are found by address, as in a loader.
    let names = entries
        .iter()
        .find(|(tag, _)| *tag == elf::DT_STRTAB)
        .and_then(|(_, address)| at_address::<H>(segments, *address, endian, data));
    let name = |at: u64| {
        let bytes = names?.get(usize::try_from(at).ok()?..)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    };
    let folders = |name: String| name.split(':').map(str::to_owned).collect();
    for (tag, value) in entries {
        match tag {
            elf::DT_NEEDED => found.needed.extend(name(value)),
            elf::DT_RPATH => found.rpath = name(value).map(folders).unwrap_or_default(),
            elf::DT_RUNPATH => found.runpath = name(value).map(folders).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(found)
}

/// The data of the file from a virtual address on.
fn at_address<'data, H: FileHeader<Endian = Endianness>>(
    segments: &[H::ProgramHeader],
    address: u64,
    endian: Endianness,
    data: &'data [u8],
) -> Option<&'data [u8]> {
    let loaded = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    loaded.into_iter().find_map(|segment| {
        let offset = address.checked_sub(segment.p_vaddr(endian).into())?;
        let bytes = segment.data(endian, data).ok()?;
        bytes.get(usize::try_from(offset).ok()?..)
    })
}
