//! Arguments and return values.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use anyhow::{Result, ensure};
use fexit::{Btf, Ebpf};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::fixture::{fexit, start};
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    arguments_and_return_value(Fexit).parallel():
        "the program sees pointers, 32-bit and 64-bit arguments, and success and error return values exactly";
}

/// The arguments and the return value of one call of `vfs_fallocate`.
#[derive(Debug, PartialEq)]
struct Call {
    inode: u64,
    mode: i32,
    offset: i64,
    len: i64,
    ret: i32,
}

fn arguments_and_return_value(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::VFS_FALLOCATE)?;
    let program = fexit(&mut ebpf, "vfs_fallocate")?;
    program.load("vfs_fallocate", &Btf::from_sys_fs()?)?;
    program.attach()?;
    start(&ebpf)?;

    let files = [File::create("one")?, File::create("two")?];
    let keep = FallocateFlags::KEEP_SIZE;
    let none = FallocateFlags::empty();
    // Offsets and lengths beyond 32 bits, and negative ones. The files are sparse, so little is allocated.
    for (file, mode, offset, len, answer) in [
        (&files[0], none, 0, 4096, Ok(())),
        (&files[1], keep, 0x1_2345_6000, 8192, Ok(())),
        (&files[0], keep, 0, 0, Err(Errno::INVAL)),
        (&files[1], none, -0x7654_3210_fedc, 1, Err(Errno::INVAL)),
        (&files[0], keep, i64::MAX - 1, 4096, Err(Errno::FBIG)),
        (
            &files[1],
            FallocateFlags::COLLAPSE_RANGE,
            4096,
            4096,
            Err(Errno::OPNOTSUPP),
        ),
    ] {
        let inode = file.metadata()?.ino();
        let before: u64 = ebpf.global("calls")?;
        let result = fallocate(file, mode, offset.cast_unsigned(), len);
        ensure!(
            result == answer,
            "fallocate at {offset} gave {result:?}, not {answer:?}"
        );
        let calls = ebpf.global::<u64>("calls")? - before;
        ensure!(calls == 1, "the program ran {calls} times, not once");
        let ret = answer.err().map_or(0, |errno| -errno.raw_os_error());
        let (mode, len) = (mode.bits().cast_signed(), len.cast_signed());
        let expected = Call {
            inode,
            mode,
            offset,
            len,
            ret,
        };
        let seen = Call {
            inode: ebpf.global("seen_inode")?,
            mode: ebpf.global("seen_mode")?,
            offset: ebpf.global("seen_offset")?,
            len: ebpf.global("seen_len")?,
            ret: ebpf.global("seen_ret")?,
        };
        ensure!(
            seen == expected,
            "the program saw {seen:?}, but it was {expected:?}"
        );
    }
    Ok(())
}
