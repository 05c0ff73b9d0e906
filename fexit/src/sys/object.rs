//! Calls for all BPF objects: ids, information, pins; and BTF.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;

use aya_obj::generated::{bpf_btf_info, bpf_cmd, bpf_map_info, bpf_prog_info};

use super::attr::{BtfLoadAttr, IdAttr, InfoAttr, LinkInfoRaw, ObjAttr};
use super::{addr, addr_mut, bpf, bpf_fd, from_bytes, raw};

pub(crate) fn btf_load(btf: &[u8], log: &mut [u8]) -> io::Result<OwnedFd> {
    bpf_fd(
        bpf_cmd::BPF_BTF_LOAD,
        &mut BtfLoadAttr {
            btf: addr(btf),
            btf_size: u32::try_from(btf.len()).unwrap_or(u32::MAX),
            btf_log_buf: addr_mut(log),
            btf_log_size: u32::try_from(log.len()).unwrap_or(u32::MAX),
            btf_log_level: u32::from(!log.is_empty()),
            btf_log_true_size: 0,
        },
    )
}

pub(crate) fn obj_pin(fd: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let mut attr = ObjAttr {
        pathname: path.as_ptr() as u64,
        bpf_fd: raw(fd),
        file_flags: 0,
    };
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr)?;
    Ok(())
}

pub(crate) fn obj_get(path: &CStr) -> io::Result<OwnedFd> {
    let mut attr = ObjAttr {
        pathname: path.as_ptr() as u64,
        ..ObjAttr::default()
    };
    bpf_fd(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

/// Reads the info struct of an object; returns how many bytes this kernel filled in.
fn info_by_fd<T: InfoStruct>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<usize> {
    let mut attr = InfoAttr {
        bpf_fd: raw(fd),
        info_len: u32::try_from(size_of::<T>()).unwrap_or(u32::MAX),
        info: ptr::from_mut(info) as u64,
    };
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(attr.info_len as usize)
}

/// A struct that `BPF_OBJ_GET_INFO_BY_FD` may fill with any bytes. Pointers in it stay null; functions of this file
/// pass buffers.
///
/// # Safety
///
/// It must consist of integers and arrays of integers.
pub(crate) unsafe trait InfoStruct: Copy {
    fn zeroed() -> Self {
        // SAFETY: zero is a valid integer.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: as include/uapi/linux/bpf.h has it.
unsafe impl InfoStruct for bpf_prog_info {}
// SAFETY: as above.
unsafe impl InfoStruct for bpf_map_info {}
// SAFETY: as above.
unsafe impl InfoStruct for bpf_btf_info {}
// SAFETY: its fields are integers.
unsafe impl InfoStruct for LinkInfoRaw {}

pub(crate) fn link_info(fd: BorrowedFd<'_>) -> io::Result<(LinkInfoRaw, usize)> {
    let mut info = LinkInfoRaw::default();
    let len = info_by_fd(fd, &mut info)?;
    Ok((info, len))
}

/// The commands that open an id, and that get the next id.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IdKind {
    Prog,
    Map,
    Btf,
    Link,
}

pub(crate) fn fd_by_id(kind: IdKind, id: u32) -> io::Result<OwnedFd> {
    let cmd = match kind {
        IdKind::Prog => bpf_cmd::BPF_PROG_GET_FD_BY_ID,
        IdKind::Map => bpf_cmd::BPF_MAP_GET_FD_BY_ID,
        IdKind::Btf => bpf_cmd::BPF_BTF_GET_FD_BY_ID,
        IdKind::Link => bpf_cmd::BPF_LINK_GET_FD_BY_ID,
    };
    bpf_fd(
        cmd,
        &mut IdAttr {
            id,
            ..IdAttr::default()
        },
    )
}

/// The id after `id`; `None` at the end.
pub(crate) fn next_id(kind: IdKind, id: u32) -> io::Result<Option<u32>> {
    let cmd = match kind {
        IdKind::Prog => bpf_cmd::BPF_PROG_GET_NEXT_ID,
        IdKind::Map => bpf_cmd::BPF_MAP_GET_NEXT_ID,
        IdKind::Btf => bpf_cmd::BPF_BTF_GET_NEXT_ID,
        IdKind::Link => bpf_cmd::BPF_LINK_GET_NEXT_ID,
    };
    let mut attr = IdAttr {
        id,
        ..IdAttr::default()
    };
    match bpf(cmd, &mut attr) {
        // The next id is always larger.
        Ok(_) => Ok((attr.next_id > id).then_some(attr.next_id)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A BTF object in the kernel.
pub(crate) struct BtfInfo {
    /// The module's name, `vmlinux`, or empty for a program's.
    pub(crate) name: String,
    /// Whether it describes the kernel or a module; false before 5.11.
    pub(crate) kernel: bool,
    /// The types themselves; empty unless asked for.
    pub(crate) data: Vec<u8>,
}

pub(crate) fn btf_info(fd: BorrowedFd<'_>, with_data: bool) -> io::Result<BtfInfo> {
    let mut name = [0u8; 64];
    let mut data = Vec::new();
    if with_data {
        let mut size = bpf_btf_info::zeroed();
        info_by_fd(fd, &mut size)?;
        data = vec![0u8; size.btf_size as usize];
    }
    let mut info = bpf_btf_info {
        btf: addr_mut(&mut data),
        btf_size: u32::try_from(data.len()).unwrap_or(u32::MAX),
        ..bpf_btf_info::zeroed()
    };
    // Before 5.11 the struct ends after `id`, and a non-zero rest is refused.
    let len = info_by_fd(fd, &mut bpf_btf_info::zeroed())?;
    if len >= size_of::<bpf_btf_info>() {
        info.name = addr_mut(&mut name);
        info.name_len = name.len() as u32;
    }
    info_by_fd(fd, &mut info)?;
    let name = CStr::from_bytes_until_nul(&name)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(BtfInfo {
        name,
        kernel: info.kernel_btf != 0,
        data,
    })
}

/// The BTF object of the kernel (`vmlinux`) or of the module with this name; none before 5.11.
pub(crate) fn kernel_btf(name: &str) -> io::Result<Option<OwnedFd>> {
    let mut id = 0;
    while let Some(next) = next_id(IdKind::Btf, id)? {
        id = next;
        let fd = match fd_by_id(IdKind::Btf, id) {
            // It was unloaded meanwhile, so it is another one.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            other => other?,
        };
        let info = btf_info(fd.as_fd(), false)?;
        if info.kernel && info.name == name {
            return Ok(Some(fd));
        }
    }
    Ok(None)
}

/// The kernel's information on a program, and how many bytes of it this kernel filled in.
pub(crate) fn prog_info(fd: BorrowedFd<'_>) -> io::Result<(bpf_prog_info, usize)> {
    let mut info = bpf_prog_info::zeroed();
    let len = info_by_fd(fd, &mut info)?;
    Ok((info, len))
}

/// The kernel's information on a map; an error if the descriptor is not a map's.
pub(crate) fn map_info(fd: BorrowedFd<'_>) -> io::Result<bpf_map_info> {
    let mut info = bpf_map_info::zeroed();
    info_by_fd(fd, &mut info)?;
    Ok(info)
}

/// The BTF type ids of the functions in a loaded program: the main function first, then subprograms.
pub(crate) fn prog_functions(fd: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let (first, _) = prog_info(fd)?;
    let size = first.func_info_rec_size.max(8) as usize;
    let mut records = vec![0u8; size * first.nr_func_info as usize];
    let mut info = bpf_prog_info::zeroed();
    info.nr_func_info = first.nr_func_info;
    info.func_info_rec_size = first.func_info_rec_size;
    info.func_info = addr_mut(&mut records);
    info_by_fd(fd, &mut info)?;
    let type_id = |record: &[u8]| from_bytes(record.get(4..8)?);
    Ok(records.chunks(size).filter_map(type_id).collect())
}
