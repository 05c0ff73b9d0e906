//! Maps of a compiled object on a fake kernel.

use aya_obj::generated::bpf_cmd;

use super::{HashMap, Map, MapError};
use crate::Ebpf;
use crate::sys::fake;
use crate::testing::compile;

/// An object with a hash map; `answer` answers its system calls.
fn hash(answer: impl Fn(bpf_cmd, usize) -> Option<i32> + 'static) -> Map {
    const SOURCE: &str = "
        struct { int (*type)[1]; int (*max_entries)[8]; u32 *key; u64 *value; } counts SEC(\".maps\");
        static void *(*lookup)(void *, const void *) = (void *)1;
        SEC(\"fexit/f\") int p(void *ctx) { u32 key = 0; return lookup(&counts, &key) != 0; }";
    let ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    fake::kernel(move |call| answer(call.cmd, call.before));
    ebpf.map("counts").unwrap().clone()
}

/// A map with one element, whose value cannot be read for this reason.
fn unreadable(errno: i32) -> Map {
    hash(move |cmd, before| match cmd {
        bpf_cmd::BPF_MAP_GET_NEXT_KEY if before > 0 => Some(libc::ENOENT),
        bpf_cmd::BPF_MAP_LOOKUP_ELEM => Some(errno),
        _ => None,
    })
}

#[test]
fn dump_omits_a_removed_element_and_returns_other_errors() {
    assert_eq!(
        unreadable(libc::ENOENT).entries(9).unwrap(),
        (Vec::new(), false)
    );
    let map = unreadable(libc::EPERM);
    assert!(matches!(
        map.entries(9),
        Err(MapError::SyscallError { io_error, .. }) if io_error.raw_os_error() == Some(libc::EPERM)
    ));
    let view: HashMap<_, u32, u64> = unreadable(libc::ENOENT).try_into().unwrap();
    assert_eq!(view.iter().count(), 0);
    let view: HashMap<_, u32, u64> = unreadable(libc::EPERM).try_into().unwrap();
    assert!(matches!(
        view.iter().next(),
        Some(Err(MapError::SyscallError { .. }))
    ));
}

#[test]
fn enoent_is_key_not_found_only_in_calls_about_an_element() {
    let map = hash(|_, _| None);
    let enoent = || std::io::Error::from_raw_os_error(libc::ENOENT);
    assert!(matches!(
        map.error("mmap")(enoent()),
        MapError::SyscallError { .. }
    ));
    let mut view: HashMap<_, u32, u64> = hash(|cmd, _| {
        use bpf_cmd::{BPF_MAP_DELETE_ELEM, BPF_MAP_LOOKUP_ELEM};
        [BPF_MAP_DELETE_ELEM, BPF_MAP_LOOKUP_ELEM]
            .contains(&cmd)
            .then_some(libc::ENOENT)
    })
    .try_into()
    .unwrap();
    assert!(matches!(view.get(&1, 0), Err(MapError::KeyNotFound { .. })));
    assert!(matches!(view.remove(&1), Err(MapError::KeyNotFound { .. })));
}
