//! Programs: load, attach and test run.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use aya_obj::generated::{bpf_cmd, bpf_insn};

use super::attr::{
    LinkCreateAttr, LinkCreateMultiAttr, ProgLoadAttr, RawTracepointAttr, TestRunAttr,
};
use super::{addr, addr_mut, bpf, bpf_fd, object_name, raw};

/// The attributes of `BPF_PROG_LOAD`.
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
    /// BTF of modules, for calls of their functions (5.16).
    pub(crate) fd_array: &'a [i32],
    pub(crate) log_level: u32,
}

/// Loads a program. The verifier's log goes to `log`, which may be empty if `log_level` is 0.
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
            fd_array: addr(prog.fd_array),
            ..ProgLoadAttr::default()
        },
    )
}

/// The verifier's log up to its NUL; invalid UTF-8 is replaced.
pub(crate) fn log_text(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).into_owned()
}

/// Whether the kernel has programs with a target (5.5). An older kernel returns `E2BIG` for fields that it does not
/// know, before it checks the others; a newer one refuses the flags, which are invalid on every kernel.
pub(crate) fn knows_targets() -> bool {
    let mut attr = ProgLoadAttr {
        insn_cnt: 1,
        prog_flags: u32::MAX,
        attach_fd: u32::MAX,
        ..ProgLoadAttr::default()
    };
    let answer = bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr);
    !answer.is_err_and(|error| error.raw_os_error() == Some(libc::E2BIG))
}

/// Attaches a tracing program to its target by `BPF_RAW_TRACEPOINT_OPEN`, from 5.5 on.
pub(crate) fn raw_tracepoint_open(prog: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = RawTracepointAttr {
        prog_fd: raw(prog),
        ..RawTracepointAttr::default()
    };
    bpf_fd(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)
}

/// Attaches a tracing program to its target by `BPF_LINK_CREATE`, with a cookie; from 5.19 on.
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

/// The result of a test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The return value of the program; for a tracing program, of the kernel's test functions.
    pub return_value: u32,
    /// Mean duration of one run, in nanoseconds.
    pub duration_ns: u32,
}

/// Runs a program `repeat` times on `data`; the kernel writes back at most the length of `data`.
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

/// Attaches a tracing program to many functions of the kernel, each with its cookie if there are any; from 7.2 on.
pub(crate) fn link_create_multi(
    prog: BorrowedFd<'_>,
    attach_type: u32,
    ids: &[u32],
    cookies: &[u64],
) -> io::Result<OwnedFd> {
    bpf_fd(
        bpf_cmd::BPF_LINK_CREATE,
        &mut LinkCreateMultiAttr {
            prog_fd: raw(prog),
            attach_type,
            ids: addr(ids),
            cookies: addr(cookies),
            count: u32::try_from(ids.len()).unwrap_or(u32::MAX),
            ..LinkCreateMultiAttr::default()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_with_invalid_utf8_is_text() {
        assert_eq!(log_text(b"ok\n\0rest"), "ok\n");
        assert_eq!(log_text(b"no end"), "no end");
        assert_eq!(log_text(&[0xff, b'x', 0]), "\u{fffd}x");
        assert_eq!(log_text(&[]), "");
    }
}
