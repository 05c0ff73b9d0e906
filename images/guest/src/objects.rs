//! The compiled programs of `images/bpf`.

macro_rules! object {
    ($name:literal) => {
        fexit::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/", $name, ".bpf.o"))
    };
}

pub(crate) const ARENA: &[u8] = object!("arena");
pub(crate) const COOKIE: &[u8] = object!("cookie");
pub(crate) const COUNT_CALLS: &[u8] = object!("count_calls");
pub(crate) const EXCEPTIONS: &[u8] = object!("exceptions");
pub(crate) const FENTRY: &[u8] = object!("fentry");
pub(crate) const FENTRY_TEST: &[u8] = object!("fentry_test");
pub(crate) const FILENAME_LOOKUP: &[u8] = object!("filename_lookup");
pub(crate) const FMOD_RET: &[u8] = object!("fmod_ret");
pub(crate) const FUNC_ARGS: &[u8] = object!("func_args");
pub(crate) const FUNC_IP: &[u8] = object!("func_ip");
pub(crate) const GLOBALS: &[u8] = object!("globals");
pub(crate) const HELPER_CALL: &[u8] = object!("helper_call");
pub(crate) const KCONFIG: &[u8] = object!("kconfig");
pub(crate) const PROGRAM_TYPES: &[u8] = object!("program_types");
pub(crate) const KSYMS: &[u8] = object!("ksyms");
pub(crate) const LSM: &[u8] = object!("lsm");
pub(crate) const MAP_VALUES: &[u8] = object!("map_values");
pub(crate) const MAPS: &[u8] = object!("maps");
pub(crate) const MAP_TYPES: &[u8] = object!("map_types");
pub(crate) const MODULE_KFUNC: &[u8] = object!("module_kfunc");
pub(crate) const MODULE_TARGET: &[u8] = object!("module_target");
pub(crate) const MODULE_TYPES: &[u8] = object!("module_types");
pub(crate) const OTHER_TYPES: &[u8] = object!("other_types");
pub(crate) const OVERHEAD: &[u8] = object!("overhead");
pub(crate) const PINNED: &[u8] = object!("pinned");
pub(crate) const RECURSION: &[u8] = object!("recursion");
pub(crate) const REFUSED: &[u8] = object!("refused");
pub(crate) const SESSION: &[u8] = object!("session");
pub(crate) const SIGNATURES: &[u8] = object!("signatures");
pub(crate) const SMP: &[u8] = object!("smp");
pub(crate) const SLEEPABLE: &[u8] = object!("sleepable");
pub(crate) const STRUCT_OPS: &[u8] = object!("struct_ops");
pub(crate) const EVENT_MAPS: &[u8] = object!("event_maps");
pub(crate) const MANY_ARGUMENTS: &[u8] = object!("many_arguments");
pub(crate) const TP_BTF: &[u8] = object!("tp_btf");
pub(crate) const TRACE_XDP: &[u8] = object!("trace_xdp");
pub(crate) const VFS_FALLOCATE: &[u8] = object!("vfs_fallocate");
pub(crate) const XDP_TARGET: &[u8] = object!("xdp_target");
