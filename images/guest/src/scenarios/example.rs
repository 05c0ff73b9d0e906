//! The example in the documentation.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process;

use anyhow::{Context as _, Result, ensure};
use fexit::{Bpf, Btf, programs::FExit};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, open};
use rustix::io::Errno;

use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    filename_lookup(Fexit).parallel():
        "the documentation's example runs unchanged and sees the arguments and results of path lookups";
}

/// `LOOKUP_FOLLOW`, which access(2) passes.
const FOLLOW: u32 = 1;

fn filename_lookup(_: &mut Context) -> Result<()> {
    fs::write("ebpf_programs.o", objects::FILENAME_LOOKUP)?;

    let mut bpf = Bpf::load_file("ebpf_programs.o")?;
    let btf = Btf::from_sys_fs()?;
    let program: &mut FExit = bpf
        .program_mut("filename_lookup")
        .context("no program")?
        .try_into()?;
    program.load("filename_lookup", &btf)?;
    program.attach()?;

    bpf.set_global("tgid", process::id())?;
    fs::write("here", "")?;
    let inode = fs::metadata("here")?.ino();
    let dir = open(".", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;

    expect(&bpf, "a path that is there", || {
        accessat(CWD, c"here", Access::EXISTS, AtFlags::empty())?;
        Ok(Seen {
            dfd: -100,
            flags: FOLLOW,
            inode,
            ret: 0,
        })
    })?;
    expect(&bpf, "a path below a folder that is open", || {
        accessat(&dir, c"here", Access::EXISTS, AtFlags::empty())?;
        Ok(Seen {
            dfd: rustix::fd::AsRawFd::as_raw_fd(&dir),
            flags: FOLLOW,
            inode,
            ret: 0,
        })
    })?;
    expect(&bpf, "a path that is not there", || {
        fails(c"there", Errno::NOENT)
    })?;
    expect(&bpf, "a path through a file", || {
        fails(c"here/there", Errno::NOTDIR)
    })
}

fn fails(path: &CStr, errno: Errno) -> Result<Seen> {
    let result = accessat(CWD, path, Access::EXISTS, AtFlags::empty());
    ensure!(result == Err(errno), "access to {path:?} gave {result:?}");
    Ok(Seen {
        dfd: -100,
        flags: FOLLOW,
        inode: 0,
        ret: -errno.raw_os_error(),
    })
}

#[derive(Debug, PartialEq)]
struct Seen {
    dfd: i32,
    flags: u32,
    inode: u64,
    ret: i32,
}

/// Makes one lookup, which the program must see exactly.
fn expect(bpf: &Bpf, what: &str, lookup: impl FnOnce() -> Result<Seen>) -> Result<()> {
    let before: u64 = bpf.global("calls")?;
    let expected = lookup()?;
    let calls = bpf.global::<u64>("calls")? - before;
    ensure!(
        calls == 1,
        "{what}: the program ran {calls} times, not once"
    );
    let seen = Seen {
        dfd: bpf.global("seen_dfd")?,
        flags: bpf.global("seen_flags")?,
        inode: bpf.global("seen_inode")?,
        ret: bpf.global("seen_ret")?,
    };
    ensure!(
        seen == expected,
        "{what}: the program saw {seen:?}, but it was {expected:?}"
    );
    let root: u32 = bpf.global("seen_root")?;
    ensure!(
        root == 0,
        "{what}: the program saw a root where none was given"
    );
    Ok(())
}
