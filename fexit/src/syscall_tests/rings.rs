//! Opening ring buffers and the buffers of perf events, and mapping variables.

use std::cell::RefCell;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{
    BPF_BTF_LOAD, BPF_MAP_CREATE, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_OBJ_GET_INFO_BY_FD,
};
use aya_obj::generated::bpf_map_info;

use super::object_of;
use crate::maps::{MapError, PerfEventArray, RingBuf};
use crate::sys::attr::MapElemAttr;
use crate::sys::{fake, page_size};

const PROGRAM: &str = "SEC(\"fexit/traced\") int p(void *ctx) { return 0; }";
const SHARED: i32 = 1;
const READ: i32 = 1;
const READ_WRITE: i32 = 3;

#[test]
fn ring_buffer_has_a_writable_consumer_page_and_a_read_only_rest() {
    let page = page_size();
    let size = 2 * page;
    let kernel = fake::kernel(move |call| {
        match call.cmd {
            BPF_MAP_CREATE => call.fd = Some(fake::mappable((2 * page + 2 * size) as u64)),
            BPF_OBJ_GET_INFO_BY_FD => {
                let mut info = call.info::<bpf_map_info>();
                (info.type_, info.id, info.max_entries) = (27, 4711, size as u32);
                call.set_info(&info);
            }
            _ => {}
        }
        None
    });
    let source = "struct { int (*type)[27]; int (*max_entries)[8192]; } m SEC(\".maps\");";
    let ebpf = object_of(&format!("{source} {PROGRAM}"));
    let map = ebpf.map("m").unwrap();
    let mut ring = RingBuf::try_from(map).unwrap();
    assert!(ring.next().is_none());
    assert_eq!(
        *kernel.mappings.borrow(),
        [
            (0, page, READ_WRITE, SHARED),
            (page, page + 2 * size, READ, SHARED),
        ]
    );
    assert!(matches!(
        RingBuf::try_from(map),
        Err(MapError::InUse { .. })
    ));
}

#[test]
fn each_online_cpu_has_its_own_perf_event_in_the_array() {
    let elements = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&elements);
    let kernel = fake::kernel(move |call| {
        if call.cmd == BPF_MAP_UPDATE_ELEM {
            let elem: MapElemAttr = *call.attr();
            let word = |at| fake::memory(at, 4);
            let fd = u32::from_ne_bytes(word(elem.value).try_into().unwrap());
            assert!(fake::file_of(fd).1 != 0, "an event that is open");
            seen.borrow_mut().push((word(elem.key), elem.flags));
        }
        None
    });
    kernel.file("/sys/devices/system/cpu/possible", "0-3\n");
    kernel.file("/sys/devices/system/cpu/online", "0,2\n");
    let events = Rc::new(RefCell::new(Vec::new()));
    let opened = Rc::clone(&events);
    kernel.on_perf_event_open(move |attr, cpu| {
        // A software event, `PERF_COUNT_SW_BPF_OUTPUT`; each one is a sample with raw data and wakes the reader.
        assert_eq!((attr.kind, attr.config, attr.sample_type), (1, 10, 1 << 10));
        assert_eq!(
            (attr.size, attr.sample_period, attr.wakeup_events),
            (72, 1, 1)
        );
        assert_eq!((attr.read_format, attr.flags, attr.bp_type), (0, 0, 0));
        opened.borrow_mut().push(cpu);
        None
    });
    let source = "struct { int (*type)[4]; } m SEC(\".maps\");";
    let mut ebpf = object_of(&format!("{source} {PROGRAM}"));
    let mut array = PerfEventArray::try_from(ebpf.map_mut("m").unwrap()).unwrap();
    let buffers = array.open_all(Some(3)).unwrap();
    assert_eq!(buffers.len(), 2);
    assert_eq!(events.take(), [0, 2]);
    let key = |cpu: u32| (cpu.to_ne_bytes().to_vec(), 0);
    assert_eq!(elements.take(), [key(0), key(2)]);
    // The control page, and four pages of data: the next power of two.
    let mapping = (0, 5 * page_size(), READ_WRITE, SHARED);
    assert_eq!(*kernel.mappings.borrow(), [mapping, mapping]);
}

const GLOBALS: &str = "int zero; SEC(\"fexit/traced\") int p(void *ctx) { return zero; }";

#[test]
fn variable_is_accessed_in_mapped_memory_if_the_map_can_be_mapped() {
    let kernel = fake::kernel(|call| {
        if call.cmd == BPF_MAP_CREATE {
            call.fd = Some(fake::mappable(4096));
        }
        None
    });
    let ebpf = object_of(GLOBALS);
    ebpf.set_global("zero", 7i32).unwrap();
    assert_eq!(ebpf.global::<i32>("zero").unwrap(), 7);
    let mapping = (0, page_size(), READ_WRITE, SHARED);
    assert_eq!(*kernel.mappings.borrow(), [mapping]);
    assert_eq!(kernel.commands(), [BPF_BTF_LOAD, BPF_MAP_CREATE]);
}

#[test]
fn forbidden_mapping_is_an_error() {
    for (errno, by_calls) in [(libc::ENODEV, true), (libc::EPERM, false)] {
        let kernel = fake::kernel(|_| None);
        kernel.mmap.set(Some(errno));
        let ebpf = object_of(GLOBALS);
        assert_eq!(ebpf.global::<i32>("zero").is_ok(), by_calls);
        assert_eq!(kernel.count(BPF_MAP_LOOKUP_ELEM) > 0, by_calls);
    }
}
