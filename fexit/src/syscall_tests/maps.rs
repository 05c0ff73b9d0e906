//! Creating maps, their initial values and their pins.

use std::cell::RefCell;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{
    self, BPF_MAP_CREATE, BPF_MAP_FREEZE, BPF_MAP_UPDATE_ELEM, BPF_OBJ_GET, BPF_OBJ_GET_INFO_BY_FD,
    BPF_OBJ_PIN, BPF_PROG_LOAD,
};
use aya_obj::generated::bpf_map_info;

use super::elements::elements;
use super::{HASH, LOOKUP, fexit, kernel, number, object_of, source, with_map};
use crate::programs::OtherProgram;
use crate::sys::attr::{MapCreateAttr, MapElemAttr, ObjAttr, ProgLoadAttr};
use crate::sys::fake::{self, Kernel};
use crate::{Ebpf, EbpfLoader, testing};

// The numbers of include/uapi/linux/bpf.h, independent of the library's.
const MMAPABLE: u32 = 1 << 10;
const RDONLY_PROG: u32 = 1 << 7;

/// The attributes of a created map.
fn definition(map: &MapCreateAttr) -> [u32; 5] {
    [
        map.map_type,
        map.key_size,
        map.value_size,
        map.max_entries,
        map.map_flags,
    ]
}

fn created(kernel: &Kernel) -> Vec<MapCreateAttr> {
    kernel.attrs()
}

#[test]
fn map_is_created_as_declared_with_its_types() {
    let (kernel, _) = kernel(|_| None);
    let ebpf = with_map(HASH);
    assert_eq!(kernel.commands(), [], "not before it is used");
    ebpf.map("m").unwrap().fd().unwrap();
    let [map] = created(&kernel)[..] else {
        panic!("one map")
    };
    assert_eq!(definition(&map), [1, 4, 8, 8, 1]);
    assert_eq!(map.map_name, *b"m\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let types = [map.btf_fd, map.btf_key_type_id, map.btf_value_type_id];
    assert!(types.iter().all(|&id| id != 0), "{types:?}");
    assert_ne!(map.btf_key_type_id, map.btf_value_type_id);
    assert_eq!(
        (map.inner_map_fd, map.numa_node, map.map_ifindex),
        (0, 0, 0)
    );
    assert_eq!((map.btf_vmlinux_value_type_id, map.map_extra), (0, 0));
}

#[test]
fn map_without_support_for_types_is_created_without_them() {
    let (kernel, _) =
        kernel(|call| (call.cmd == BPF_MAP_CREATE && call.before == 0).then_some(libc::EINVAL));
    with_map(HASH).map("m").unwrap().fd().unwrap();
    let [with, without] = created(&kernel)[..] else {
        panic!("two calls")
    };
    assert_eq!(definition(&with), definition(&without));
    assert_eq!((without.btf_fd, without.btf_value_type_id), (0, 0));
}

#[test]
fn map_of_maps_has_an_inner_map() {
    let (kernel, _) = kernel(|_| None);
    let inner = "struct inner { int (*type)[2]; int (*max_entries)[3]; u32 *key; u64 *value; };";
    let map = "int (*type)[12]; int (*max_entries)[5]; u32 *key; struct inner *values[];";
    let ebpf = object_of(&format!("{inner} {}", source(map)));
    ebpf.map("m").unwrap().fd().unwrap();
    let all = created(&kernel);
    let (inner, outer) = (all.first().unwrap(), all.last().unwrap());
    assert_eq!(definition(inner), [2, 4, 8, 3, 0]);
    assert_eq!(definition(outer), [12, 4, 4, 5, 0]);
    assert_eq!(inner.inner_map_fd, 0);
    assert_ne!(outer.inner_map_fd, 0);
}

#[test]
fn initial_values_of_maps_reach_the_kernel() {
    const SOURCE: &str = "
        static long (*tail_call)(void *, void *, u32) = (void *)12;
        struct inner { int (*type)[2]; int (*max_entries)[3]; u32 *key; u64 *value; } one SEC(\".maps\");
        struct { int (*type)[12]; int (*max_entries)[5]; u32 *key; struct inner *values[]; } maps SEC(\".maps\") =
            { .values = { [4] = &one } };
        int target(void *ctx);
        struct { int (*type)[3]; int (*max_entries)[2]; int (*key_size)[4];
                 int (*values[])(void *); } programs SEC(\".maps\") = { .values = { [1] = target } };
        SEC(\"xdp\") int target(void *ctx) { return lookup(&maps, ctx) != 0; }
        SEC(\"xdp\") int p(void *ctx) { tail_call(ctx, &programs, 1); return 0; }";
    let (updates, answer) = elements((4, 4), &[]);
    let (kernel, _) = kernel(answer);
    let mut ebpf = object_of(&format!("{LOOKUP} {SOURCE}"));
    let load = |ebpf: &mut Ebpf, name: &str| {
        let program: &mut OtherProgram = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
        number(program.fd().unwrap()).to_ne_bytes().to_vec()
    };
    let slot = |index: u32, value: Vec<u8>| {
        let key = index.to_ne_bytes().to_vec();
        (BPF_MAP_UPDATE_ELEM, key, value, 0)
    };
    load(&mut ebpf, "p");
    assert_eq!(*updates.borrow(), []);
    let target = load(&mut ebpf, "target");
    let one = number(ebpf.map("one").unwrap().fd().unwrap());
    let one = one.to_ne_bytes().to_vec();
    let mut programs = created(&kernel).into_iter().filter(|map| map.map_type == 3);
    assert_eq!(definition(&programs.next().unwrap()), [3, 4, 4, 2, 0]);
    assert_eq!(*updates.borrow(), [slot(4, one), slot(1, target)]);
}

#[test]
fn extra_and_sizes_of_rings_reach_the_kernel() {
    let (kernel, _) = kernel(|_| None);
    let bloom = "int (*type)[30]; int (*max_entries)[9]; u64 *value; int (*map_extra)[3];";
    with_map(bloom).map("m").unwrap().fd().unwrap();
    let bloom = *created(&kernel).last().unwrap();
    assert_eq!(definition(&bloom), [30, 0, 8, 9, 0]);
    assert_eq!(bloom.map_extra, 3);
    with_map("int (*type)[27]; int (*max_entries)[5000];")
        .map("m")
        .unwrap()
        .fd()
        .unwrap();
    let ring = *created(&kernel).last().unwrap();
    assert_eq!(definition(&ring), [27, 0, 0, 8192, 0]);
    let object = testing::compile(&source(HASH));
    let ebpf = EbpfLoader::new()
        .map_max_entries("m", 77)
        .map_value_size("m", 24)
        .load(&object)
        .unwrap();
    ebpf.map("m").unwrap().fd().unwrap();
    assert_eq!(
        definition(created(&kernel).last().unwrap()),
        [1, 4, 24, 77, 1]
    );
    let error = EbpfLoader::new().map_value_size("n", 24).load(&object);
    assert!(
        error.unwrap_err().to_string().contains("`n`"),
        "the map exists"
    );
}

#[test]
fn map_of_globals_has_the_type_of_its_data_section() {
    let object = testing::compile(GLOBALS);
    let create = |refused: fn(&MapCreateAttr) -> bool| {
        let (kernel, _) = kernel(move |call| {
            let is_refused = call.cmd == BPF_MAP_CREATE && refused(call.attr());
            is_refused.then_some(libc::EINVAL)
        });
        let ebpf = EbpfLoader::new().load(&object).unwrap();
        ebpf.map(".data").unwrap().fd().unwrap();
        created(&kernel)
    };
    let [map] = create(|_| false)[..] else {
        panic!("more than one call");
    };
    assert_ne!(map.btf_fd, 0);
    assert_eq!(map.btf_key_type_id, 0);
    assert_ne!(map.btf_value_type_id, 0);
    assert_eq!(map.map_flags, 1 << 10);
    let [_, plain] = create(|map| map.btf_fd != 0)[..] else {
        panic!("not two calls");
    };
    assert_eq!((plain.btf_fd, plain.btf_value_type_id), (0, 0));
    assert_eq!(plain.map_flags, 1 << 10);
}

#[test]
fn perf_event_array_has_a_slot_for_each_possible_cpu() {
    let (kernel, _) = kernel(|_| None);
    kernel.file("/sys/devices/system/cpu/possible", "0-3,8\n");
    with_map("int (*type)[4];").map("m").unwrap().fd().unwrap();
    let map = *created(&kernel).last().unwrap();
    assert_eq!(definition(&map), [4, 4, 4, 9, 0]);
}

const GLOBALS: &str = "
    int zero; int one = 1; const volatile int TWO = 2;
    SEC(\"fexit/traced\") int p(void *ctx) { return zero + one + TWO; }";

#[test]
fn variables_are_maps_with_their_initial_values() {
    let (elements, answer) = elements((4, 4), &[]);
    let (kernel, btf) = kernel(answer);
    let mut ebpf = object_of(GLOBALS);
    fexit(&mut ebpf).load("traced", &btf).unwrap();
    let mut maps: Vec<_> = created(&kernel).iter().map(definition).collect();
    maps.sort_unstable();
    // An array each of one element, which can be mapped; programs only read constants.
    assert_eq!(
        maps,
        [
            [2, 4, 4, 1, MMAPABLE],
            [2, 4, 4, 1, MMAPABLE],
            [2, 4, 4, 1, MMAPABLE | RDONLY_PROG],
        ]
    );
    let mut written = elements.take();
    written.sort_by(|a, b| a.2.cmp(&b.2));
    // `.bss` needs no initial value.
    let first = 0u32.to_ne_bytes().to_vec();
    let written_by = |value: i32| {
        (
            BPF_MAP_UPDATE_ELEM,
            first.clone(),
            value.to_ne_bytes().to_vec(),
            0,
        )
    };
    assert_eq!(written, [written_by(1), written_by(2)]);
    let elem = |cmd| -> Vec<u32> {
        let commands = kernel.commands();
        let of_elements = commands
            .iter()
            .filter(|made| [BPF_MAP_UPDATE_ELEM, BPF_MAP_FREEZE].contains(made));
        let attrs = kernel.attrs::<MapElemAttr>();
        let calls = of_elements.zip(attrs);
        calls
            .filter(|(made, _)| **made == cmd)
            .map(|(_, attr)| attr.map_fd)
            .collect()
    };
    let constants = ebpf.map(".rodata").unwrap();
    assert_eq!(elem(BPF_MAP_FREEZE), [number(constants.fd().unwrap())]);
    assert!(elem(BPF_MAP_UPDATE_ELEM).contains(&number(constants.fd().unwrap())));
}

#[test]
fn program_refers_to_maps_by_their_descriptors() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let insns = Rc::clone(&seen);
    let (_, btf) = kernel(move |call| {
        if call.cmd == BPF_PROG_LOAD {
            let load: &mut ProgLoadAttr = call.attr();
            let bytes = fake::memory(load.insns, u64::from(load.insn_cnt) * 8);
            let all: Vec<[u8; 8]> = bytes.as_chunks().0.to_vec();
            insns.borrow_mut().extend(all);
        }
        None
    });
    let mut ebpf = with_map(HASH);
    fexit(&mut ebpf).load("traced", &btf).unwrap();
    let fd = number(ebpf.map("m").unwrap().fd().unwrap());
    // `ld_imm64` with the pseudo source `BPF_PSEUDO_MAP_FD`.
    let loads: Vec<_> = seen
        .take()
        .into_iter()
        .filter(|insn| insn[0] == 0x18)
        .collect();
    let [load] = loads[..] else {
        panic!("one map: {loads:?}")
    };
    assert_eq!(load[1] >> 4, 1);
    assert_eq!(load[4..], fd.to_ne_bytes());
}

/// Calls for pins: command, path and descriptor.
type Pins = Rc<RefCell<Vec<(bpf_cmd, String, u32)>>>;

/// A kernel with a pinned map, or with none.
fn pins(exists: bool) -> (Pins, Rc<Kernel>) {
    let pins = Pins::default();
    let seen = Rc::clone(&pins);
    let (kernel, _) = kernel(move |call| {
        let cmd = call.cmd;
        if [BPF_OBJ_GET, BPF_OBJ_PIN].contains(&cmd) {
            let obj: ObjAttr = *call.attr();
            assert_eq!(obj.file_flags, 0);
            seen.borrow_mut()
                .push((cmd, fake::text(obj.pathname), obj.bpf_fd));
        }
        if cmd == BPF_OBJ_GET_INFO_BY_FD {
            let mut info = call.info::<bpf_map_info>();
            (info.type_, info.key_size, info.value_size) = (1, 4, 8);
            (info.max_entries, info.map_flags) = (8, 1);
            call.set_info(&info);
        }
        (cmd == BPF_OBJ_GET && !exists).then_some(libc::ENOENT)
    });
    (pins, kernel)
}

#[test]
fn map_shared_by_name_is_opened_or_created_and_pinned() {
    let declaration = format!("{HASH} int (*pinning)[1];");
    let path = "/sys/fs/bpf/m".to_owned();
    let (calls, kernel) = pins(false);
    let ebpf = with_map(&declaration);
    let fd = number(ebpf.map("m").unwrap().fd().unwrap());
    let expected = [
        (BPF_OBJ_GET, path.clone(), 0),
        (BPF_OBJ_PIN, path.clone(), fd),
    ];
    assert_eq!(calls.take(), expected);
    assert_eq!(kernel.count(BPF_MAP_CREATE), 1);

    let (calls, kernel) = pins(true);
    let object = testing::compile(&source(&declaration));
    let ebpf = EbpfLoader::new()
        .map_pin_path("m", "/sys/fs/bpf/other")
        .load(&object)
        .unwrap();
    ebpf.map("m").unwrap().fd().unwrap();
    assert_eq!(
        calls.take(),
        [(BPF_OBJ_GET, "/sys/fs/bpf/other".to_owned(), 0)]
    );
    assert_eq!(kernel.count(BPF_MAP_CREATE), 0);
}
