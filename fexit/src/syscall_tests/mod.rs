//! The system calls of the library: each field of the attributes that changes what the kernel does.

mod arena;
mod attach;
mod elements;
mod exceptions;
mod externs;
mod links;
mod maps;
mod programs;
mod rings;
mod struct_ops;
mod symbols;
mod targets;

use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{BPF_LINK_CREATE, BPF_RAW_TRACEPOINT_OPEN};

use crate::programs::FExit;
use crate::sys::attr::ProgLoadAttr;
use crate::sys::fake::{self, Call, Kernel};
use crate::testing;
use crate::{Btf, Ebpf};

// The numbers of include/uapi/linux/bpf.h, independent of the library's.
const TRACING: u32 = 26;
const FEXIT: u32 = 25;
const FSESSION: u32 = 58;
const FEXIT_MULTI: u32 = 60;
const FSESSION_MULTI: u32 = 61;

/// The attributes of a load: program type, attach type, flags, type id and descriptor of the target.
fn target_of(load: &ProgLoadAttr) -> [u32; 5] {
    [
        load.prog_type,
        load.expected_attach_type,
        load.prog_flags,
        load.attach_btf_id,
        load.attach_fd,
    ]
}

fn last_load(kernel: &Kernel) -> ProgLoadAttr {
    *kernel.attrs().last().unwrap()
}

/// Functions that programs may be attached to, the same in the kernel and in the object.
const TARGETS: &str = "
    struct s { int a; long b; };
    int traced(int a, int b) { return a * b; }
    int other(struct s *s) { return s->a; }";

/// An object with one program, called `p`, in this section.
fn object(section: &str) -> Ebpf {
    object_of(&format!(
        "SEC(\"{section}\") int p(u64 *ctx) {{ return 0; }}"
    ))
}

fn object_of(source: &str) -> Ebpf {
    Ebpf::load(&testing::compile(&format!("{TARGETS} {source}"))).unwrap()
}

/// A kernel with all features and the targets, and its BTF as programs are loaded with.
fn kernel(answer: impl FnMut(&mut Call<'_>) -> Option<i32> + 'static) -> (Rc<Kernel>, Btf) {
    let kernel = fake::kernel(answer);
    kernel.lacks(&[], TARGETS);
    (kernel, Btf::from_sys_fs().unwrap())
}

const LOOKUP: &str = "static void *(*lookup)(void *, const void *) = (void *)1;";

/// An object whose program `p` uses the map that `map` declares as `m`.
fn with_map(map: &str) -> Ebpf {
    object_of(&source(map))
}

fn source(map: &str) -> String {
    format!(
        "{LOOKUP} struct {{ {map} }} m SEC(\".maps\");
         SEC(\"fexit/traced\") int p(void *ctx) {{ u32 key = 0; return lookup(&m, &key) != 0; }}"
    )
}

const HASH: &str =
    "int (*type)[1]; int (*max_entries)[8]; u32 *key; u64 *value; int (*map_flags)[1];";

fn fexit(ebpf: &mut Ebpf) -> &mut FExit {
    ebpf.program_mut("p").unwrap().try_into().unwrap()
}

/// The number of a descriptor in attributes.
fn number(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

fn attaches(call: &Call<'_>) -> bool {
    matches!(call.cmd, BPF_LINK_CREATE | BPF_RAW_TRACEPOINT_OPEN)
}
