//! `bpf(2)` and its neighbours: the one place of this crate that says `unsafe`.
//!
//! Each command has an attribute struct of its own, laid out as `include/uapi/linux/bpf.h` lays out its arm of
//! `union bpf_attr`. A struct is passed with its own size, so an old kernel never sees fields that it does not know
//! unless the caller used a newer struct on purpose: it would refuse those only when they are not zero.
#![allow(unsafe_code)]

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod memory;
pub(crate) mod perf;

use std::ffi::{CStr, c_long};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use aya_obj::generated::{bpf_cmd, bpf_insn, bpf_prog_info};

/// `ENOTSUPP`, the kernel's own "not supported", has no name in libc.
pub(crate) const ENOTSUPP: i32 = 524;

/// Lengths of names in the kernel, the closing NUL included.
pub(crate) const BPF_OBJ_NAME_LEN: usize = 16;

/// Plain old data: a type that any bytes are a valid value of, and that has no padding.
///
/// # Safety
///
/// Every bit pattern must be valid, there must be no padding and no pointers.
pub unsafe trait Pod: Copy + 'static {}

macro_rules! pod {
    ($($t:ty),+) => { $(
        // SAFETY: an integer has no padding and no invalid bit pattern.
        unsafe impl Pod for $t {}
    )+ };
}
pod!(
    u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize
);

// SAFETY: an array adds no padding between its elements.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

/// The bytes of a value.
pub(crate) fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: `T: Pod` has no padding, so all `size_of::<T>()` bytes are initialised.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The value that `bytes` hold; `None` when their number is not the size of `T`.
pub(crate) fn from_bytes<T: Pod>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the length is that of `T`, any bytes are a valid `T: Pod`, and the read needs no alignment.
    (bytes.len() == size_of::<T>()).then(|| unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// An attribute struct of one `bpf(2)` command.
trait Attr: Default {}

macro_rules! attr {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $t:ty,)+ }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Default)]
        struct $name { $($field: $t,)+ }
        impl Attr for $name {}
    };
}

attr!(MapCreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; BPF_OBJ_NAME_LEN],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_value_type_id: u32,
    map_extra: u64,
});
attr!(MapElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
});
attr!(ProgLoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; BPF_OBJ_NAME_LEN],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_fd: u32,
    pad: u32,
});
attr!(ObjAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
});
attr!(TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
});
attr!(IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
});
attr!(InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
});
attr!(RawTracepointAttr {
    name: u64,
    prog_fd: u32,
    pad: u32,
});
attr!(BtfLoadAttr {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    pad: u32,
});
attr!(LinkCreateAttr {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    target_btf_id: u32,
    pad: u32,
    cookie: u64,
});

/// Every `bpf(2)` call goes through here, so that tests can answer for the kernel.
fn bpf<A: Attr>(cmd: bpf_cmd, attr: &mut A) -> io::Result<c_long> {
    #[cfg(test)]
    if let Some(answer) = fake::answer(cmd) {
        return answer;
    }
    // The verifier gives up with EAGAIN when a signal is pending: ask again, but not for ever.
    let mut attempts = 0;
    loop {
        attempts += 1;
        // SAFETY: `attr` is a live struct of the size that is passed. The pointers in it were made by the callers
        // below from slices that outlive the call, each with its length beside it.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                cmd as u32,
                ptr::from_mut(attr),
                size_of::<A>(),
            )
        };
        if ret >= 0 {
            return Ok(ret);
        }
        let error = io::Error::last_os_error();
        let again = matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN));
        if !again || attempts == 10 {
            return Err(error);
        }
    }
}

/// A call whose result is a new file descriptor. The kernel makes all of its descriptors close-on-exec.
fn bpf_fd<A: Attr>(cmd: bpf_cmd, attr: &mut A) -> io::Result<OwnedFd> {
    let fd = bpf(cmd, attr)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::other("bpf(2) returned no descriptor"))?;
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn addr<T>(slice: &[T]) -> u64 {
    if slice.is_empty() {
        0
    } else {
        slice.as_ptr() as u64
    }
}

fn addr_mut<T>(slice: &mut [T]) -> u64 {
    if slice.is_empty() {
        0
    } else {
        slice.as_mut_ptr() as u64
    }
}

/// What the kernel calls an object: cut to fifteen bytes, other characters than it allows replaced.
pub(crate) fn object_name(name: &str) -> [u8; BPF_OBJ_NAME_LEN] {
    let mut out = [0; BPF_OBJ_NAME_LEN];
    for (to, from) in out.iter_mut().zip(name.bytes()).take(BPF_OBJ_NAME_LEN - 1) {
        *to = if from.is_ascii_alphanumeric() || from == b'_' || from == b'.' {
            from
        } else {
            b'_'
        };
    }
    out
}

/// What `BPF_MAP_CREATE` takes.
#[derive(Clone, Copy, Default)]
pub(crate) struct MapCreate<'a> {
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) extra: u64,
    pub(crate) name: &'a str,
    pub(crate) inner: Option<BorrowedFd<'a>>,
    /// The object's BTF with the types of key and value in it.
    pub(crate) btf: Option<(BorrowedFd<'a>, u32, u32)>,
}

pub(crate) fn map_create(map: &MapCreate<'_>) -> io::Result<OwnedFd> {
    let (btf_fd, btf_key_type_id, btf_value_type_id) = map
        .btf
        .map_or((0, 0, 0), |(fd, key, value)| (raw(fd), key, value));
    bpf_fd(
        bpf_cmd::BPF_MAP_CREATE,
        &mut MapCreateAttr {
            map_type: map.map_type,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            map_flags: map.flags,
            inner_map_fd: map.inner.map_or(0, raw),
            map_name: object_name(map.name),
            btf_fd,
            btf_key_type_id,
            btf_value_type_id,
            map_extra: map.extra,
            ..MapCreateAttr::default()
        },
    )
}

/// Reads the value of `key` into `value`, whose length must be what the kernel writes: the caller knows the map.
pub(crate) fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    elem(bpf_cmd::BPF_MAP_LOOKUP_ELEM, map, key, addr_mut(value), 0)
}

pub(crate) fn map_update(
    map: BorrowedFd<'_>,
    key: &[u8],
    value: &[u8],
    flags: u64,
) -> io::Result<()> {
    elem(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, key, addr(value), flags)
}

pub(crate) fn map_delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    elem(bpf_cmd::BPF_MAP_DELETE_ELEM, map, key, 0, 0)
}

/// The key after `key` (the first one for `None`) into `next`; `false` at the end.
pub(crate) fn map_next_key(
    map: BorrowedFd<'_>,
    key: Option<&[u8]>,
    next: &mut [u8],
) -> io::Result<bool> {
    let key = key.unwrap_or_default();
    match elem(bpf_cmd::BPF_MAP_GET_NEXT_KEY, map, key, addr_mut(next), 0) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn map_freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    bpf(
        bpf_cmd::BPF_MAP_FREEZE,
        &mut MapElemAttr {
            map_fd: raw(map),
            ..MapElemAttr::default()
        },
    )?;
    Ok(())
}

fn elem(cmd: bpf_cmd, map: BorrowedFd<'_>, key: &[u8], value: u64, flags: u64) -> io::Result<()> {
    let mut attr = MapElemAttr {
        map_fd: raw(map),
        pad: 0,
        key: addr(key),
        value,
        flags,
    };
    bpf(cmd, &mut attr)?;
    Ok(())
}

/// What `BPF_PROG_LOAD` takes.
#[derive(Clone, Copy)]
pub(crate) struct ProgLoad<'a> {
    pub(crate) prog_type: u32,
    pub(crate) expected_attach_type: u32,
    pub(crate) insns: &'a [bpf_insn],
    pub(crate) license: &'a CStr,
    pub(crate) name: &'a str,
    pub(crate) flags: u32,
    pub(crate) kern_version: u32,
    pub(crate) btf: Option<BorrowedFd<'a>>,
    pub(crate) func_info: (&'a [u8], u32),
    pub(crate) line_info: (&'a [u8], u32),
    pub(crate) attach_btf_id: u32,
    /// The BTF object (of a module) or the program that `attach_btf_id` belongs to; none for the kernel itself.
    pub(crate) attach_fd: Option<BorrowedFd<'a>>,
    pub(crate) log_level: u32,
}

/// Loads a program; what the verifier has to say goes to `log`, which may be empty when `log_level` is 0.
pub(crate) fn prog_load(prog: &ProgLoad<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let count = |(info, rec_size): (&[u8], u32)| {
        u32::try_from(info.len())
            .unwrap_or(u32::MAX)
            .checked_div(rec_size)
            .unwrap_or(0)
    };
    let has_info = prog.btf.is_some();
    let func_info = if has_info {
        prog.func_info
    } else {
        (&[][..], 0)
    };
    let line_info = if has_info {
        prog.line_info
    } else {
        (&[][..], 0)
    };
    bpf_fd(
        bpf_cmd::BPF_PROG_LOAD,
        &mut ProgLoadAttr {
            prog_type: prog.prog_type,
            insn_cnt: u32::try_from(prog.insns.len()).unwrap_or(u32::MAX),
            insns: addr(prog.insns),
            license: prog.license.as_ptr() as u64,
            log_level: prog.log_level,
            log_size: u32::try_from(log.len()).unwrap_or(u32::MAX),
            log_buf: addr_mut(log),
            kern_version: prog.kern_version,
            prog_flags: prog.flags,
            prog_name: object_name(prog.name),
            expected_attach_type: prog.expected_attach_type,
            prog_btf_fd: prog.btf.map_or(0, raw),
            func_info_rec_size: if func_info.0.is_empty() {
                0
            } else {
                func_info.1
            },
            func_info: addr(func_info.0),
            func_info_cnt: count(func_info),
            line_info_rec_size: if line_info.0.is_empty() {
                0
            } else {
                line_info.1
            },
            line_info: addr(line_info.0),
            line_info_cnt: count(line_info),
            attach_btf_id: prog.attach_btf_id,
            attach_fd: prog.attach_fd.map_or(0, raw),
            ..ProgLoadAttr::default()
        },
    )
}

/// Attaches a tracing program to the target that it was loaded for; the older of the two calls, from 5.5 on.
pub(crate) fn raw_tracepoint_open(prog: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = RawTracepointAttr {
        prog_fd: raw(prog),
        ..RawTracepointAttr::default()
    };
    bpf_fd(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)
}

/// Attaches a tracing program to the target that it was loaded for, with a cookie; from 5.19 on.
pub(crate) fn link_create(
    prog: BorrowedFd<'_>,
    attach_type: u32,
    cookie: u64,
) -> io::Result<OwnedFd> {
    let mut attr = LinkCreateAttr {
        prog_fd: raw(prog),
        attach_type,
        cookie,
        ..LinkCreateAttr::default()
    };
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

pub(crate) fn btf_load(btf: &[u8], log: &mut [u8]) -> io::Result<OwnedFd> {
    bpf_fd(
        bpf_cmd::BPF_BTF_LOAD,
        &mut BtfLoadAttr {
            btf: addr(btf),
            btf_size: u32::try_from(btf.len()).unwrap_or(u32::MAX),
            btf_log_buf: addr_mut(log),
            btf_log_size: u32::try_from(log.len()).unwrap_or(u32::MAX),
            btf_log_level: u32::from(!log.is_empty()),
            pad: 0,
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

/// What came of a test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// What the program (for a tracing program: the kernel's test sequence) returned.
    pub return_value: u32,
    /// Mean duration of one run, in nanoseconds.
    pub duration_ns: u32,
}

/// Runs a program `repeat` times on `data`; the kernel may write back at most as much as it was given.
pub(crate) fn prog_test_run(prog: BorrowedFd<'_>, data: &[u8], repeat: u32) -> io::Result<TestRun> {
    let mut out = vec![0; if data.is_empty() { 0 } else { data.len() + 256 }];
    let mut attr = TestRunAttr {
        prog_fd: raw(prog),
        data_size_in: u32::try_from(data.len()).unwrap_or(u32::MAX),
        data_in: addr(data),
        data_size_out: u32::try_from(out.len()).unwrap_or(u32::MAX),
        data_out: addr_mut(&mut out),
        repeat,
        ..TestRunAttr::default()
    };
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    Ok(TestRun {
        return_value: attr.retval,
        duration_ns: attr.duration,
    })
}

/// Reads an info struct of any of the kernel's objects; returns how many bytes of it this kernel knows.
fn info_by_fd<T: InfoStruct>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<usize> {
    let mut attr = InfoAttr {
        bpf_fd: raw(fd),
        info_len: u32::try_from(size_of::<T>()).unwrap_or(u32::MAX),
        info: ptr::from_mut(info) as u64,
    };
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(attr.info_len as usize)
}

/// A struct that `BPF_OBJ_GET_INFO_BY_FD` may write any bytes into. Pointers in it stay null: whoever wants a
/// buffer filled uses a function of this file.
trait InfoStruct {}
impl InfoStruct for bpf_prog_info {}
impl InfoStruct for LinkInfoRaw {}

/// `struct bpf_link_info` as far as a tracing link uses it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkInfoRaw {
    kind: u32,
    pub(crate) id: u32,
    pub(crate) prog_id: u32,
    pad: u32,
    pub(crate) attach_type: u32,
    pub(crate) target_obj_id: u32,
    pub(crate) target_btf_id: u32,
    pad2: u32,
    pub(crate) cookie: u64,
}

pub(crate) fn link_info(fd: BorrowedFd<'_>) -> io::Result<(LinkInfoRaw, usize)> {
    let mut info = LinkInfoRaw::default();
    let len = info_by_fd(fd, &mut info)?;
    Ok((info, len))
}

/// The commands that turn an id into a descriptor, and walk the ids.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IdKind {
    Prog,
    Btf,
}

pub(crate) fn fd_by_id(kind: IdKind, id: u32) -> io::Result<OwnedFd> {
    let cmd = match kind {
        IdKind::Prog => bpf_cmd::BPF_PROG_GET_FD_BY_ID,
        IdKind::Btf => bpf_cmd::BPF_BTF_GET_FD_BY_ID,
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
        IdKind::Btf => bpf_cmd::BPF_BTF_GET_NEXT_ID,
    };
    let mut attr = IdAttr {
        id,
        ..IdAttr::default()
    };
    match bpf(cmd, &mut attr) {
        Ok(_) => Ok(Some(attr.next_id)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `struct bpf_btf_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct BtfInfoRaw {
    btf: u64,
    btf_size: u32,
    id: u32,
    name: u64,
    name_len: u32,
    kernel_btf: u32,
}
impl InfoStruct for BtfInfoRaw {}

/// A BTF object in the kernel.
pub(crate) struct BtfInfo {
    /// The module's name, `vmlinux`, or empty for a program's.
    pub(crate) name: String,
    /// Whether it describes the kernel or a module; before 5.11 the kernel does not say.
    pub(crate) kernel: bool,
    /// The types themselves; empty unless asked for.
    pub(crate) data: Vec<u8>,
}

pub(crate) fn btf_info(fd: BorrowedFd<'_>, with_data: bool) -> io::Result<BtfInfo> {
    let mut name = [0u8; 64];
    let mut data = Vec::new();
    if with_data {
        let mut size = BtfInfoRaw::default();
        info_by_fd(fd, &mut size)?;
        data = vec![0u8; size.btf_size as usize];
    }
    let mut info = BtfInfoRaw {
        btf: addr_mut(&mut data),
        btf_size: u32::try_from(data.len()).unwrap_or(u32::MAX),
        ..BtfInfoRaw::default()
    };
    // Before 5.11 the struct ends after `id`, and a non-zero rest is refused.
    let len = info_by_fd(fd, &mut BtfInfoRaw::default())?;
    if len >= size_of::<BtfInfoRaw>() {
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

/// What the kernel knows of a program, and how many bytes of that this kernel filled in.
pub(crate) fn prog_info(fd: BorrowedFd<'_>) -> io::Result<(bpf_prog_info, usize)> {
    // SAFETY: all-zero is a valid `bpf_prog_info`: integers and arrays of them.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let len = info_by_fd(fd, &mut info)?;
    Ok((info, len))
}

/// The BTF type ids of the functions in a loaded program: its own first, then its subprograms'.
pub(crate) fn prog_functions(fd: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let (first, _) = prog_info(fd)?;
    let size = first.func_info_rec_size.max(8) as usize;
    let mut records = vec![0u8; size * first.nr_func_info as usize];
    // SAFETY: all-zero is a valid `bpf_prog_info`: integers and arrays of them.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    info.nr_func_info = first.nr_func_info;
    info.func_info_rec_size = first.func_info_rec_size;
    info.func_info = addr_mut(&mut records);
    info_by_fd(fd, &mut info)?;
    let type_id = |record: &[u8]| from_bytes(record.get(4..8)?);
    Ok(records.chunks(size).filter_map(type_id).collect())
}

/// Lifts the limit on locked memory, which before 5.11 bounds what BPF may allocate.
fn raise_memlock() -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: `limit` is a live struct of the type that the call reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Runs a call that allocates in the kernel; when the limit on locked memory may be in its way, lifts that and tries
/// again. From 5.11 on the limit does not count, and `EPERM` means what it says.
pub(crate) fn with_memlock<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match call() {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && raise_memlock().is_ok() => {
            call()
        }
        other => other,
    }
}

/// `uname -r`.
pub(crate) fn kernel_release() -> String {
    // SAFETY: all-zero is a valid `utsname`, and `uname` fills it with NUL-terminated strings.
    let uts = unsafe {
        let mut uts: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut uts);
        uts
    };
    // SAFETY: `release` is NUL-terminated: the kernel says so, and it was zeroed before.
    unsafe { CStr::from_ptr(uts.release.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// Bytes of a page of memory.
pub(crate) fn page_size() -> usize {
    // SAFETY: `sysconf` has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_size_that_the_kernel_knows() {
        // Offsets of the ends of the arms of union bpf_attr in include/uapi/linux/bpf.h.
        assert_eq!(size_of::<MapElemAttr>(), 32);
        assert_eq!(size_of::<MapCreateAttr>(), 72);
        assert_eq!(size_of::<ProgLoadAttr>(), 120);
        assert_eq!(size_of::<ObjAttr>(), 16);
        assert_eq!(size_of::<TestRunAttr>(), 64);
        assert_eq!(size_of::<LinkCreateAttr>(), 32);
        assert_eq!(size_of::<BtfLoadAttr>(), 32);
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        assert_eq!(&object_name("a-b/c"), b"a_b_c\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&object_name("0123456789abcdefgh"), b"0123456789abcde\0");
    }

    #[test]
    fn bytes_of_the_wrong_length_are_no_value() {
        assert_eq!(
            from_bytes::<u32>(&[1, 0, 0, 0]),
            Some(u32::from_ne_bytes([1, 0, 0, 0]))
        );
        assert_eq!(from_bytes::<u32>(&[1, 0, 0]), None);
        assert_eq!(
            bytes_of(&[1u16, 2]),
            [1u16.to_ne_bytes(), 2u16.to_ne_bytes()].concat()
        );
    }
}
