//! The kernel's information on loaded programs and links.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aya_obj::generated::bpf_link_type::BPF_LINK_TYPE_TRACING;

use super::permission::permission;
use crate::error::ProgramError;
use crate::feature::{Feature, Unsupported};
use crate::sys::{self, IdKind};

/// The kernel's information on all loaded programs, of any type and process.
///
/// # Minimum kernel version
///
/// 4.13. Source: kernel commit 34ad5580f8f9 ("bpf: Add BPF_(PROG|MAP)_GET_NEXT_ID command").
///
/// # Errors
///
/// [`ProgramError::Permission`]: it takes `CAP_SYS_ADMIN`.
pub fn loaded_programs() -> impl Iterator<Item = Result<ProgramInfo, ProgramError>> {
    all(
        IdKind::Prog,
        ["BPF_PROG_GET_NEXT_ID", "BPF_PROG_GET_FD_BY_ID"],
    )
    .map(|fd| ProgramInfo::of(fd?.as_fd()))
}

/// The kernel's information on all links, of any type and process.
///
/// # Minimum kernel version
///
/// 5.8. Source: kernel commit 2d602c8cf40d ("bpf: Support GET_FD_BY_ID and GET_NEXT_ID for bpf_link").
///
/// # Errors
///
/// [`ProgramError::Permission`]: it takes `CAP_SYS_ADMIN`; [`ProgramError::Unsupported`] before 5.8.
pub fn loaded_links() -> impl Iterator<Item = Result<LinkInfo, ProgramError>> {
    all(
        IdKind::Link,
        ["BPF_LINK_GET_NEXT_ID", "BPF_LINK_GET_FD_BY_ID"],
    )
    .map(|fd| {
        LinkInfo::of(fd?.as_fd()).map_err(|io_error| ProgramError::SyscallError {
            call: "BPF_OBJ_GET_INFO_BY_FD",
            io_error,
        })
    })
}

/// Descriptors of all programs or all links. The first of `calls` gets the next id, the second opens it. The iterator
/// ends with the first error.
fn all(
    kind: IdKind,
    calls: [&'static str; 2],
) -> impl Iterator<Item = Result<OwnedFd, ProgramError>> {
    let failed = move |io_error: std::io::Error, call| match (kind, io_error.raw_os_error()) {
        (_, Some(libc::EPERM)) => permission("list what the kernel has", true),
        (IdKind::Link, Some(libc::EINVAL)) if Feature::LinkInfo.missing().is_some() => {
            Feature::LinkInfo.unsupported().into()
        }
        _ => ProgramError::SyscallError { call, io_error },
    };
    let mut last = Some(0);
    std::iter::from_fn(move || {
        loop {
            let id = match sys::next_id(kind, last.take()?) {
                Ok(id) => id?,
                Err(error) => return Some(Err(failed(error, calls[0]))),
            };
            match sys::fd_by_id(kind, id) {
                // It was closed meanwhile, or is a link that is not complete yet.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EAGAIN)) => {
                    last = Some(id);
                }
                Err(error) => return Some(Err(failed(error, calls[1]))),
                Ok(fd) => {
                    last = Some(id);
                    return Some(Ok(fd));
                }
            }
        }
    })
}

/// The information on all links; `None` if the kernel has none, or this process may not read it.
fn links() -> Option<Vec<LinkInfo>> {
    loaded_links().collect::<Result<_, _>>().ok()
}

/// Whether any link belongs to this program; `None` if unknown.
pub(super) fn is_linked(program: BorrowedFd<'_>) -> Option<bool> {
    let id = sys::prog_info(program).ok()?.0.id;
    Some(links()?.iter().any(|link| link.program_id == id))
}

/// The number of links on the function that `program` is loaded for; `None` if unknown.
///
/// `owner` is the program that the function belongs to, if any.
pub(super) fn links_on_target(
    program: BorrowedFd<'_>,
    owner: Option<BorrowedFd<'_>>,
) -> Option<usize> {
    let (mut object, function) = ProgramInfo::of(program).ok()?.target?;
    if let Some(owner) = owner {
        object = sys::prog_info(owner).ok()?.0.id;
    }
    let there = Some((object, function));
    let links = links()?;
    let count = links.iter().filter(|link| link.target == there).count();
    (count > 0).then_some(count)
}

/// The kernel's information on a loaded program.
///
/// # Minimum kernel version
///
/// 4.13. Source: `struct bpf_prog_info` in include/uapi/linux/bpf.h.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramInfo {
    /// Its id, as `bpftool prog` lists it.
    pub id: u32,
    /// Its name, truncated to fifteen bytes.
    pub name: String,
    /// The id of its BTF; 0 when it has none.
    pub btf_id: u32,
    /// How often it ran, while `sysctl kernel.bpf_stats_enabled` was 1. Available from 5.1.
    pub run_count: u64,
    /// How long it ran in all, in nanoseconds, under the same condition. Available from 5.1.
    pub run_time_ns: u64,
    /// How many instructions the verifier looked at. Available from 5.16.
    pub verified_instructions: Option<u32>,
    tag: u64,
    sizes: (u32, u32),
    loaded_by: Option<u32>,
    gpl_compatible: bool,
    recursion_misses: Option<u64>,
    target: Option<(u32, u32)>,
}

impl ProgramInfo {
    /// A hash of its instructions: the same for each load of the same program.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// The size of its machine code, in bytes; 0 while it is interpreted.
    pub fn size_jitted(&self) -> u32 {
        self.sizes.0
    }

    /// The size of its instructions after verification, in bytes; `None` if this process may not read it.
    /// Available from 4.15.
    pub fn size_translated(&self) -> Option<u32> {
        (self.sizes.1 > 0).then_some(self.sizes.1)
    }

    /// The user who loaded it. Available from 4.15.
    pub fn created_by_uid(&self) -> Option<u32> {
        self.loaded_by
    }

    /// Whether its licence is compatible with the GPL. Available from 4.18.
    pub fn gpl_compatible(&self) -> Option<bool> {
        Some(self.gpl_compatible)
    }

    /// How many instructions the verifier looked at. Available from 5.16.
    pub fn verified_instruction_count(&self) -> Option<u32> {
        self.verified_instructions
    }

    /// A descriptor of the program, for example to use it as a target.
    ///
    /// # Minimum kernel version
    ///
    /// 4.13. Source: kernel commit b16d9aa4c2b9 ("bpf: introduce BPF_PROG_GET_FD_BY_ID").
    ///
    /// # Errors
    ///
    /// [`ProgramError::Permission`]: it takes `CAP_SYS_ADMIN`; [`ProgramError::SyscallError`] when it is gone.
    pub fn fd(&self) -> Result<OwnedFd, ProgramError> {
        sys::fd_by_id(IdKind::Prog, self.id).map_err(|io_error| match io_error.raw_os_error() {
            Some(libc::EPERM) => permission("look up a program by its id", true),
            _ => ProgramError::SyscallError {
                call: "BPF_PROG_GET_FD_BY_ID",
                io_error,
            },
        })
    }

    /// Its id, as `bpftool prog` lists it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its name, truncated to fifteen bytes.
    pub fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Its name, truncated to fifteen bytes.
    pub fn name_as_str(&self) -> Option<&str> {
        Some(&self.name)
    }

    /// The id of its BTF.
    pub fn btf_id(&self) -> Option<u32> {
        (self.btf_id != 0).then_some(self.btf_id)
    }

    /// How often it ran, while `sysctl kernel.bpf_stats_enabled` was 1. Available from 5.1.
    pub fn run_count(&self) -> u64 {
        self.run_count
    }

    /// How long it ran in all, under the same condition. Available from 5.1.
    pub fn run_time(&self) -> Duration {
        Duration::from_nanos(self.run_time_ns)
    }

    /// How often it did not run because it already ran on that CPU.
    ///
    /// # Minimum kernel version
    ///
    /// 5.12. Source: kernel commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was prevented").
    ///
    /// # Errors
    ///
    /// [`Unsupported`] before 5.12.
    pub fn recursion_misses(&self) -> Result<u64, Unsupported> {
        self.recursion_misses
            .ok_or_else(|| Feature::RecursionMisses.unsupported())
    }

    /// Its target: the id of the BTF object that the function is in, and its type id there.
    ///
    /// # Minimum kernel version
    ///
    /// 6.0. Source: kernel commit b79c9fc9551b ("bpf: implement BPF_PROG_QUERY for BPF_LSM_CGROUP").
    ///
    /// # Errors
    ///
    /// [`Unsupported`] before 6.0.
    pub fn target(&self) -> Result<(u32, u32), Unsupported> {
        self.target
            .ok_or_else(|| Feature::ProgramInfoTarget.unsupported())
    }

    pub(super) fn of(fd: BorrowedFd<'_>) -> Result<Self, ProgramError> {
        // The ends of fields in `struct bpf_prog_info`: the kernel returns how many bytes it filled in.
        const RECURSION_MISSES: usize = 216;
        const VERIFIED_INSNS: usize = 220;
        const ATTACH_BTF_ID: usize = 228;
        let (info, len) = sys::prog_info(fd).map_err(|io_error| ProgramError::SyscallError {
            call: "BPF_OBJ_GET_INFO_BY_FD",
            io_error,
        })?;
        let name: Vec<u8> = info
            .name
            .iter()
            .map(|c| c.to_ne_bytes()[0])
            .take_while(|&c| c != 0)
            .collect();
        Ok(Self {
            id: info.id,
            name: String::from_utf8_lossy(&name).into_owned(),
            btf_id: info.btf_id,
            run_count: info.run_cnt,
            run_time_ns: info.run_time_ns,
            tag: u64::from_be_bytes(info.tag),
            sizes: (info.jited_prog_len, info.xlated_prog_len),
            loaded_by: (info.load_time > 0).then_some(info.created_by_uid),
            gpl_compatible: info.gpl_compatible() != 0,
            recursion_misses: (len >= RECURSION_MISSES).then_some(info.recursion_misses),
            verified_instructions: (len >= VERIFIED_INSNS).then_some(info.verified_insns),
            target: (len >= ATTACH_BTF_ID).then_some((info.attach_btf_obj_id, info.attach_btf_id)),
        })
    }
}

/// The kernel's information on a link.
///
/// # Minimum kernel version
///
/// 5.8. Source: `struct bpf_link_info` in include/uapi/linux/bpf.h.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// Its id, as `bpftool link` lists it.
    pub id: u32,
    /// The id of the program that it attaches.
    pub program_id: u32,
    /// `BPF_TRACE_FEXIT`, 25, or another attach type; 0 for a link on many functions on 7.2.
    pub attach_type: u32,
    target: Option<(u32, u32)>,
}

impl LinkInfo {
    /// Its id, as `bpftool link` lists it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The id of the program that it attaches.
    pub fn program_id(&self) -> u32 {
        self.program_id
    }

    /// What it is attached to: the id of the BTF object, or of the program, and the function's type id in its BTF.
    ///
    /// # Minimum kernel version
    ///
    /// 5.13. Source: kernel commit 441e8c66b23e ("bpf: Return target info when a tracing bpf_link is queried").
    ///
    /// # Errors
    ///
    /// [`Unsupported`] before 5.13.
    pub fn target(&self) -> Result<(u32, u32), Unsupported> {
        self.target.ok_or_else(|| Feature::LinkTarget.unsupported())
    }

    pub(super) fn of(fd: BorrowedFd<'_>) -> std::io::Result<Self> {
        let (info, _) = sys::link_info(fd)?;
        let tracing = info.kind == BPF_LINK_TYPE_TRACING as u32;
        Ok(Self {
            id: info.id,
            program_id: info.prog_id,
            attach_type: info.attach_type,
            // The struct has the same length for other types of links; no function has type id 0.
            target: (tracing && info.target_btf_id != 0)
                .then_some((info.target_obj_id, info.target_btf_id)),
        })
    }
}
