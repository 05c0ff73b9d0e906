//! The attributes of `bpf(2)` and `perf_event_open(2)`, with the kernel's layout.
//!
//! Each command has its own struct, with the layout of its arm of `union bpf_attr` in `include/uapi/linux/bpf.h`. A
//! struct is passed with its own size. An old kernel refuses fields that it does not know only if they are not zero.

use std::any::Any;
use std::fmt;

use super::BPF_OBJ_NAME_LEN;

/// The attribute of a call.
pub(crate) trait Attr: Any + fmt::Debug {
    /// A copy that outlives the call.
    #[cfg(test)]
    fn copied(&self) -> Box<dyn Attr>;
}

/// Defines an attribute struct. Tests compare the offset of each field with aya-obj's bindings: with the field of the
/// same name, or the one after `=`, in the named struct or arm of a union. A number is the offset itself, for fields
/// that the bindings do not have.
macro_rules! attr {
    ($name:ident, $theirs:ident $arm:tt:
        $($field:ident: $t:ty $(= $path:tt $(. $rest:ident)*)?,)+
    ) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct $name { $(pub(crate) $field: $t,)+ }

        impl Attr for $name {
            #[cfg(test)]
            fn copied(&self) -> Box<dyn Attr> {
                Box::new(*self)
            }
        }

        #[cfg(test)]
        const _: () = {
            let mut end = 0;
            $(
                let offset = std::mem::offset_of!($name, $field);
                assert!(offset == end, "there is no padding");
                assert!(offset == their_offset!($theirs $arm $field $(, $path $(. $rest)*)?));
                end += size_of::<$t>();
            )+
            assert!(end == size_of::<$name>());
        };
    };
}

#[cfg(test)]
macro_rules! their_offset {
    ($theirs:ident [$($arm:ident)?] $field:ident) => {
        std::mem::offset_of!(aya_obj::generated::$theirs, $($arm.)? $field)
    };
    ($theirs:ident [$($arm:ident)?] $field:ident, $offset:literal) => {
        $offset
    };
    ($theirs:ident [$($arm:ident)?] $field:ident, $path:ident $(. $rest:ident)*) => {
        std::mem::offset_of!(aya_obj::generated::$theirs, $($arm.)? $path $(. $rest)*)
    };
}

attr! { MapCreateAttr, bpf_attr [__bindgen_anon_1]:
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
}

attr! { MapElemAttr, bpf_attr [__bindgen_anon_2]:
    map_fd: u32,
    pad: u32 = 4,
    key: u64,
    value: u64 = __bindgen_anon_1.value,
    flags: u64,
}

attr! { ProgLoadAttr, bpf_attr [__bindgen_anon_3]:
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
    attach_fd: u32 = __bindgen_anon_1.attach_prog_fd,
    core_relo_cnt: u32,
    fd_array: u64,
}

attr! { ObjAttr, bpf_attr [__bindgen_anon_4]:
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

attr! { TestRunAttr, bpf_attr [test]:
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
}

attr! { IdAttr, bpf_attr [__bindgen_anon_6]:
    id: u32 = __bindgen_anon_1.start_id,
    next_id: u32,
    open_flags: u32,
}

attr! { InfoAttr, bpf_attr [info]:
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

attr! { RawTracepointAttr, bpf_attr [raw_tracepoint]:
    name: u64,
    prog_fd: u32,
    pad: u32 = 12,
}

attr! { BtfLoadAttr, bpf_attr [__bindgen_anon_7]:
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    btf_log_true_size: u32,
}

attr! { LinkCreateAttr, bpf_attr [link_create]:
    prog_fd: u32 = __bindgen_anon_1.prog_fd,
    target_fd: u32 = __bindgen_anon_2.target_fd,
    attach_type: u32,
    flags: u32,
    target_btf_id: u32 = __bindgen_anon_3.tracing.target_btf_id,
    pad: u32 = 20,
    cookie: u64 = __bindgen_anon_3.tracing.cookie,
}

// Newer than the bindings: `tracing_multi` in include/uapi/linux/bpf.h of 7.2.
attr! { LinkCreateMultiAttr, bpf_attr [link_create]:
    prog_fd: u32 = __bindgen_anon_1.prog_fd,
    target_fd: u32 = __bindgen_anon_2.target_fd,
    attach_type: u32,
    flags: u32,
    ids: u64 = 16,
    cookies: u64 = 24,
    count: u32 = 32,
    pad: u32 = 36,
}

// `struct perf_event_attr`, second version, which every kernel accepts.
attr! { PerfEventAttr, perf_event_attr []:
    kind: u32 = type_,
    size: u32,
    config: u64,
    sample_period: u64 = __bindgen_anon_1.sample_period,
    sample_type: u64,
    read_format: u64,
    flags: u64 = _bitfield_1,
    wakeup_events: u32 = __bindgen_anon_2.wakeup_events,
    bp_type: u32,
    config1: u64 = __bindgen_anon_3.config1,
    config2: u64 = __bindgen_anon_4.config2,
}

// The fields of `struct bpf_link_info` that every tracing link has.
attr! { LinkInfoRaw, bpf_link_info []:
    kind: u32 = type_,
    id: u32,
    prog_id: u32,
    pad: u32 = 12,
    attach_type: u32 = __bindgen_anon_1.tracing.attach_type,
    target_obj_id: u32 = __bindgen_anon_1.tracing.target_obj_id,
    target_btf_id: u32 = __bindgen_anon_1.tracing.target_btf_id,
}
