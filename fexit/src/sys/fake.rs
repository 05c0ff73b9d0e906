//! A fake kernel for unit tests. It answers the system calls of the thread that created it, and has its own files.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::{CStr, c_long};
use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use aya_obj::generated::bpf_cmd;
use tempfile::TempDir;

use super::attr::{Attr, InfoAttr, PerfEventAttr, ProgLoadAttr};
use super::call::{Syscall, to_kernel};
use super::object::InfoStruct;

thread_local!(static KERNEL: RefCell<Option<Rc<Kernel>>> = const { RefCell::new(None) });

/// Gives this thread a fake kernel. All its calls succeed, except a call of `bpf(2)` for which `answer` returns an
/// `errno`.
pub(crate) fn kernel(answer: impl FnMut(&mut Call<'_>) -> Option<i32> + 'static) -> Rc<Kernel> {
    let kernel = Rc::new(Kernel {
        answer: RefCell::new(Box::new(answer)),
        perf: RefCell::new(Box::new(|_, _| None)),
        mmap: Cell::new(None),
        mappings: RefCell::default(),
        addresses: RefCell::default(),
        probe: Cell::new(libc::EINVAL),
        release: RefCell::new("6.1.0".to_owned()),
        calls: RefCell::default(),
        memlock: Cell::new((1 << 16, libc::RLIM_INFINITY)),
        root: OnceCell::new(),
    });
    KERNEL.set(Some(Rc::clone(&kernel)));
    kernel
}

/// The `errno` of a call that fails.
type Answer = dyn FnMut(&mut Call<'_>) -> Option<i32>;
type PerfAnswer = dyn FnMut(&PerfEventAttr, i32) -> Option<i32>;

/// The kernel of one test.
pub(crate) struct Kernel {
    answer: RefCell<Box<Answer>>,
    perf: RefCell<Box<PerfAnswer>>,
    /// The `errno` of `mmap`, if it fails.
    pub(crate) mmap: Cell<Option<i32>>,
    /// The calls of `mmap`: offset, length, protection and flags.
    pub(crate) mappings: RefCell<Vec<(usize, usize, i32, i32)>>,
    /// The addresses that the calls of `mmap` propose.
    pub(crate) addresses: RefCell<Vec<usize>>,
    /// The `errno` of the probe whether programs may have a target, which no kernel accepts.
    pub(crate) probe: Cell<i32>,
    pub(crate) release: RefCell<String>,
    calls: RefCell<Vec<(bpf_cmd, Box<dyn Attr>)>>,
    /// The soft and hard limit on locked memory.
    pub(crate) memlock: Cell<(u64, u64)>,
    root: OnceCell<TempDir>,
}

/// A call of `bpf(2)`, to be answered.
pub(crate) struct Call<'a> {
    pub(crate) cmd: bpf_cmd,
    /// The number of earlier calls of this command.
    pub(crate) before: usize,
    /// The descriptor that the call returns; one of `/dev/null` by default.
    pub(crate) fd: Option<OwnedFd>,
    attr: &'a mut dyn Attr,
}

impl Kernel {
    /// Answers `perf_event_open`; without it the call succeeds.
    pub(crate) fn on_perf_event_open(
        &self,
        answer: impl FnMut(&PerfEventAttr, i32) -> Option<i32> + 'static,
    ) {
        *self.perf.borrow_mut() = Box::new(answer);
    }

    /// Adds a file of `/proc`, `/sys` or `/boot`.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let root = self.root.get_or_init(|| tempfile::tempdir().unwrap());
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The commands of all calls.
    pub(crate) fn commands(&self) -> Vec<bpf_cmd> {
        self.calls.borrow().iter().map(|(cmd, _)| *cmd).collect()
    }

    /// The number of calls of a command.
    pub(crate) fn count(&self, cmd: bpf_cmd) -> usize {
        let commands = self.commands();
        commands.iter().filter(|made| **made == cmd).count()
    }

    /// The attributes of this type of all calls.
    pub(crate) fn attrs<A: Attr + Copy>(&self) -> Vec<A> {
        let calls = self.calls.borrow();
        let attrs = calls.iter().filter_map(|(_, attr)| {
            let attr: &dyn Any = &**attr;
            attr.downcast_ref().copied()
        });
        attrs.collect()
    }

    fn bpf(&self, cmd: bpf_cmd, attr: &mut dyn Attr) -> io::Result<c_long> {
        let probe: &dyn Any = attr;
        if let Some(load) = probe.downcast_ref::<ProgLoadAttr>()
            && load.prog_flags == u32::MAX
        {
            return errno(self.probe.get());
        }
        let before = self.count(cmd);
        self.calls.borrow_mut().push((cmd, attr.copied()));
        let mut call = Call {
            cmd,
            before,
            fd: None,
            attr,
        };
        match (self.answer.borrow_mut())(&mut call) {
            Some(reason) => errno(reason),
            None if makes_descriptor(cmd) => {
                let fd = call.fd.unwrap_or_else(fd);
                Ok(fd.into_raw_fd().into())
            }
            None => Ok(0),
        }
    }
}

impl Call<'_> {
    /// The attribute, to read and to write results to.
    pub(crate) fn attr<A: Attr>(&mut self) -> &mut A {
        let cmd = self.cmd;
        let attr: &mut dyn Any = self.attr;
        let attr = attr.downcast_mut();
        attr.unwrap_or_else(|| panic!("{cmd:?} has another attribute"))
    }

    /// The library's input in the buffer of `BPF_OBJ_GET_INFO_BY_FD`: pointers and lengths.
    pub(crate) fn info<T: InfoStruct>(&mut self) -> T {
        let attr: &mut InfoAttr = self.attr();
        assert_eq!(attr.info_len as usize, size_of::<T>());
        // SAFETY: the caller of `bpf` gave a struct of so many bytes, of which any are a valid `T`.
        unsafe { std::ptr::read_unaligned(attr.info as *const T) }
    }

    /// Writes the result of `BPF_OBJ_GET_INFO_BY_FD`.
    pub(crate) fn set_info<T: Copy>(&mut self, info: &T) {
        let attr: &mut InfoAttr = self.attr();
        let len = size_of::<T>().min(attr.info_len as usize);
        attr.info_len = u32::try_from(len).unwrap();
        // SAFETY: the caller of `bpf` promises that so many bytes can be written there, and `info` has as many.
        unsafe { std::ptr::copy(std::ptr::from_ref(info).cast(), attr.info as *mut u8, len) };
    }
}

/// The memory that an attribute points to, during its call.
pub(crate) fn memory(address: u64, len: u64) -> Vec<u8> {
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: the address and the length are those that the caller of `bpf` gave to the kernel to read from.
    unsafe { std::slice::from_raw_parts(address as *const u8, len as usize) }.to_vec()
}

/// The text that an attribute points to, during its call.
pub(crate) fn text(address: u64) -> String {
    // SAFETY: the address is that of a string that the caller of `bpf` gave to the kernel to read.
    let text = unsafe { CStr::from_ptr(address as *const _) };
    text.to_string_lossy().into_owned()
}

/// Writes to the memory that an attribute points to, during its call.
pub(crate) fn write(address: u64, bytes: &[u8]) {
    // SAFETY: the address is one that the caller of `bpf` gave to the kernel to write to; the test knows how much.
    unsafe { std::ptr::copy(bytes.as_ptr(), address as *mut u8, bytes.len()) };
}

/// The inode of a descriptor's file, by the descriptor's number.
pub(crate) fn file_of(fd: u32) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: an attribute has it, so it is open while the call lasts.
    let fd = unsafe { BorrowedFd::borrow_raw(fd.cast_signed()) };
    let file = File::from(fd.try_clone_to_owned().unwrap()).metadata();
    let file = file.unwrap();
    (file.dev(), file.ino())
}

/// A descriptor that cannot be mapped.
pub(crate) fn fd() -> OwnedFd {
    let file = File::options().read(true).write(true).open("/dev/null");
    file.unwrap().into()
}

/// A descriptor of that many bytes that can be mapped.
pub(crate) fn mappable(len: u64) -> OwnedFd {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len).unwrap();
    file.into()
}

fn errno(errno: i32) -> io::Result<c_long> {
    Err(io::Error::from_raw_os_error(errno))
}

fn makes_descriptor(cmd: bpf_cmd) -> bool {
    use bpf_cmd::*;
    matches!(
        cmd,
        BPF_MAP_CREATE
            | BPF_PROG_LOAD
            | BPF_OBJ_GET
            | BPF_PROG_GET_FD_BY_ID
            | BPF_MAP_GET_FD_BY_ID
            | BPF_BTF_GET_FD_BY_ID
            | BPF_LINK_GET_FD_BY_ID
            | BPF_RAW_TRACEPOINT_OPEN
            | BPF_BTF_LOAD
            | BPF_LINK_CREATE
    )
}

fn current() -> Option<Rc<Kernel>> {
    KERNEL.with_borrow(Clone::clone)
}

pub(super) fn syscall(call: Syscall<'_>) -> io::Result<c_long> {
    let kernel = current();
    let Some(kernel) = kernel else {
        return match call {
            // A file that the test created.
            Syscall::Mmap(_) => to_kernel(call),
            Syscall::Uname(_) => Ok(0),
            _ => panic!("a unit test that makes system calls needs `fake::kernel`: {call:?}"),
        };
    };
    match call {
        Syscall::Bpf { cmd, attr } => kernel.bpf(cmd, attr),
        Syscall::PerfEventOpen { attr, cpu } => match (kernel.perf.borrow_mut())(attr, cpu) {
            Some(reason) => errno(reason),
            None => Ok(mappable(1 << 20).into_raw_fd().into()),
        },
        Syscall::Mmap(map) => {
            let mapping = (map.offset, map.len, map.protection, map.flags);
            kernel.mappings.borrow_mut().push(mapping);
            kernel.addresses.borrow_mut().push(map.address);
            kernel.mmap.get().map_or_else(|| to_kernel(call), errno)
        }
        Syscall::SetMemlock(limit) => {
            let (_, most) = kernel.memlock.get();
            if limit.rlim_max > most {
                return errno(libc::EPERM);
            }
            kernel.memlock.set((limit.rlim_cur, most));
            Ok(0)
        }
        Syscall::GetMemlock(limit) => {
            (limit.rlim_cur, limit.rlim_max) = kernel.memlock.get();
            Ok(0)
        }
        Syscall::Uname(to) => {
            let release = kernel.release.borrow();
            for (to, from) in to.release.iter_mut().zip(release.bytes()) {
                *to = libc::c_char::from_ne_bytes([from]);
            }
            Ok(0)
        }
    }
}

/// The path of a file of the fake kernel, or a path that does not exist.
pub(super) fn file(path: &Path) -> PathBuf {
    let kernel = current();
    let root = kernel.as_ref().and_then(|kernel| kernel.root.get());
    let root = root.map_or(Path::new("/nonexistent"), TempDir::path);
    root.join(path.strip_prefix("/").unwrap_or(path))
}
