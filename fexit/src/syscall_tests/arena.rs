//! Arenas: their mapping, and global variables in them.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{BPF_MAP_CREATE, BPF_OBJ_GET, BPF_PROG_LOAD};

use super::externs::insns;
use super::{kernel, number, object_of, with_map};
use crate::programs::OtherProgram;
use crate::sys::attr::{MapCreateAttr, ProgLoadAttr};
use crate::sys::fake;
use crate::{Arch, EbpfLoader, Feature, MapError, testing};

#[test]
fn arena_without_an_address_is_mapped() {
    let size = 9 * crate::sys::page_size();
    let (kernel, _) = kernel(move |call| {
        if call.cmd == BPF_MAP_CREATE {
            call.fd = Some(fake::mappable(size as u64));
        }
        None
    });
    let mapped = |extra: &str| {
        let arena = format!("int (*type)[33]; int (*max_entries)[9]; {extra}");
        with_map(&arena).map("m").unwrap().fd().unwrap();
        let sizes: Vec<_> = kernel.mappings.take().iter().map(|all| all.1).collect();
        (
            kernel.attrs::<MapCreateAttr>().last().unwrap().map_extra,
            sizes.contains(&size),
        )
    };
    assert_eq!(mapped(""), (0, true));
    // The address is known. clang before 15 writes only the lower half of the value.
    assert_eq!(mapped("enum { value = 7 } map_extra;"), (7, false));
}

#[test]
fn arena_is_refused_by_its_feature_where_btf_lacks_it() {
    let (kernel, _) = kernel(|call| (call.cmd == BPF_MAP_CREATE).then_some(libc::EINVAL));
    let create = || {
        let ebpf = with_map("int (*type)[33]; int (*max_entries)[9];");
        ebpf.map("m").unwrap().fd().unwrap_err()
    };
    assert!(matches!(create(), MapError::CreateError { .. }));
    kernel.lacks(&[Feature::Arena], "");
    let refusal = create().unsupported().copied();
    assert_eq!(refusal.unwrap().feature, Feature::Arena);
}

/// Loads a program that uses two variables in an arena of two pages, on a kernel that refuses an offset outside of a map's
/// value with this message. The variables must begin at `start`. The static one is referred to by its section, and the
/// number in the instruction.
fn globals_are_at(start: usize, refusal: &'static str) {
    let source = "
        struct { int (*type)[33]; int (*max_entries)[2]; } m SEC(\".maps\");
        u64 first SEC(\".addr_space.1\") = 0x1122;
        static volatile u64 second SEC(\".addr_space.1\") = 0x3344;
        SEC(\"xdp\") int p(void *ctx) { return *(volatile u64 *)&first + second; }";
    let size = 2 * crate::sys::page_size();
    let seen = Rc::new(RefCell::new((None, Vec::new())));
    let loads = Rc::clone(&seen);
    let (kernel, _) = kernel(move |call| {
        if call.cmd == BPF_MAP_CREATE && call.attr::<MapCreateAttr>().map_type == 33 {
            let memory = fake::mappable(size as u64);
            loads.borrow_mut().0 = Some(File::from(memory.try_clone().unwrap()));
            call.fd = Some(memory);
        }
        if call.cmd == BPF_PROG_LOAD {
            let all = insns(call);
            if all[1].3 == 1 << 30 {
                fake::write(call.attr::<ProgLoadAttr>().log_buf, refusal.as_bytes());
                return Some(libc::EINVAL);
            }
            loads.borrow_mut().1 = all;
        }
        None
    });
    let mut ebpf = object_of(source);
    let program: &mut OtherProgram = ebpf.program_mut("p").unwrap().try_into().unwrap();
    program.load().unwrap();
    let map = number(ebpf.map("m").unwrap().fd().unwrap()).cast_signed();
    let (memory, insns) = seen.take();
    let mut values = [0; 16];
    memory
        .unwrap()
        .read_exact_at(&mut values, start as u64)
        .unwrap();
    assert_eq!(
        values,
        [0x1122_u64.to_ne_bytes(), 0x3344_u64.to_ne_bytes()].concat()[..]
    );
    let constants = insns.windows(2).filter(|pair| pair[0].0 == 0x18);
    let constants: Vec<_> = constants
        .map(|pair| (pair[0].1 >> 4, pair[0].3, pair[1].3))
        .collect();
    let start = i32::try_from(start).unwrap();
    assert_eq!(constants, [(2, map, start), (2, map, start + 8)]);
    assert_eq!(ebpf.requirements(Arch::X86_64).unwrap()["p"].maps, ["m"]);
    assert_eq!(ebpf.global::<u64>("second").unwrap(), 0x3344);
    ebpf.set_global("first", 0x5566_u64).unwrap();
    assert_eq!(ebpf.global::<u64>("first").unwrap(), 0x5566);
    let mappings = kernel.mappings.borrow();
    let of_arena = mappings.iter().filter(|all| all.1 == size);
    assert_eq!(of_arena.count(), 1);
}

#[test]
fn globals_in_an_arena_are_in_its_last_page_if_the_kernel_accepts_any_offset() {
    let page = crate::sys::page_size();
    globals_are_at(
        page,
        "invalid access to map value pointer, value_size=1 off=1073741824\n\0",
    );
    globals_are_at(0, "direct value offset of 1073741824 is not allowed\n\0");
}

/// The descriptor that is pinned is that of a new map.
#[test]
fn arena_that_is_created_to_be_pinned_is_mapped_too() {
    let size = 9 * crate::sys::page_size();
    let (kernel, _) = kernel(move |call| {
        match call.cmd {
            BPF_OBJ_GET => return Some(libc::ENOENT),
            BPF_MAP_CREATE => call.fd = Some(fake::mappable(size as u64)),
            _ => {}
        }
        None
    });
    let ebpf = with_map("int (*type)[33]; int (*max_entries)[9]; int (*pinning)[1];");
    ebpf.map("m").unwrap().fd().unwrap();
    let mappings = kernel.mappings.borrow();
    assert!(mappings.iter().any(|all| all.1 == size), "{mappings:?}");
}

#[test]
fn global_in_an_arena_is_set_before_load_if_the_arena_is_large_enough() {
    let object = testing::compile(
        "struct { int (*type)[33]; int (*max_entries)[3]; } m SEC(\".maps\");
         int one SEC(\".addr_space.1\") = 1;
         char many[9000] SEC(\".addr_space.1\") = {1};
         SEC(\"xdp\") int p(void *ctx) { return one + many[1]; }",
    );
    let load = |pages: u32| {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("m", pages);
        loader.set_global("one", &7, true).load(&object).unwrap()
    };
    let (_kernel, _) = kernel(|call| {
        if call.cmd == BPF_MAP_CREATE {
            call.fd = Some(fake::mappable(1 << 16));
        }
        None
    });
    assert_eq!(load(3).global::<i32>("one").unwrap(), 7);
    let error = load(1).global::<i32>("one").unwrap_err().to_string();
    assert!(
        error.contains("an arena of 4096 bytes") && error.contains("take 90"),
        "{error}"
    );
}

#[test]
fn arena_with_globals_is_mapped_at_its_address() {
    let size = 2 * crate::sys::page_size();
    let (kernel, _) = kernel(move |call| {
        if call.cmd == BPF_MAP_CREATE {
            call.fd = Some(fake::mappable(size as u64));
        }
        None
    });
    let address = 0x2000_0000;
    let ebpf = object_of(
        "struct { int (*type)[33]; int (*max_entries)[2]; enum { at = 0x20000000 } map_extra; } m SEC(\".maps\");
         int first SEC(\".addr_space.1\") = 1;
         SEC(\"xdp\") int p(void *ctx) { return *(volatile int *)&first; }",
    );
    ebpf.map("m").unwrap().fd().unwrap();
    assert_eq!(kernel.addresses.borrow().last(), Some(&address));
}
