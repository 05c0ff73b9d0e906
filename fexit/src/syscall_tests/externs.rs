//! External symbols of a program: functions of the kernel and of modules, symbols, configuration.

use std::cell::RefCell;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{BPF_BTF_GET_FD_BY_ID, BPF_MAP_UPDATE_ELEM, BPF_PROG_LOAD};

use super::targets::btf_objects;
use super::{TARGETS, fexit, kernel, number, object_of};
use crate::programs::Target;
use crate::sys::attr::{IdAttr, MapElemAttr, ProgLoadAttr};
use crate::sys::fake::{self, Call};
use crate::{Btf, testing};

const DECLARATIONS: &str = "
    #define KSYM __attribute__((section(\".ksyms\")))
    #define KCONFIG __attribute__((section(\".kconfig\")))
    extern int of_kernel(int a) KSYM;
    extern void in_module(void) KSYM;
    extern int absent(int a) KSYM __attribute__((weak));
    extern const void address KSYM;
    extern int CONFIG_HZ KCONFIG;";

/// Instructions: code, registers, offset, immediate.
pub(super) type Insns = Vec<(u8, u8, i16, i32)>;

pub(super) fn insns(call: &mut Call<'_>) -> Insns {
    let load: &mut ProgLoadAttr = call.attr();
    let bytes = fake::memory(load.insns, u64::from(load.insn_cnt) * 8);
    let insn = |&[code, registers, a, b, c, d, e, f]: &[u8; 8]| {
        let offset = i16::from_ne_bytes([a, b]);
        (code, registers, offset, i32::from_ne_bytes([c, d, e, f]))
    };
    bytes.as_chunks().0.iter().map(insn).collect()
}

#[test]
fn kernel_function_call_has_its_id_and_the_number_of_its_module() {
    let source = format!("{TARGETS} int of_kernel(int a) {{ return a; }}");
    let base = {
        fake::kernel(|_| None).lacks(&[], &source);
        Btf::from_sys_fs().unwrap()
    };
    let module = testing::split_btf(base.raw().unwrap(), "void in_module(void) {}");
    let mut answer = btf_objects(vec![(9, "a_module", vec![], true)]);
    let seen = Rc::new(RefCell::new((Vec::new(), Vec::new())));
    let (loads, mut module_fd) = (Rc::clone(&seen), 0);
    let (kernel, _) = kernel(move |call| {
        let answer = answer(call);
        if call.cmd == BPF_BTF_GET_FD_BY_ID && call.attr::<IdAttr>().id == 9 {
            module_fd = call.fd.as_ref().map_or(0, number);
        }
        if call.cmd == BPF_PROG_LOAD {
            let array = fake::memory(call.attr::<ProgLoadAttr>().fd_array, 8);
            let expected = [[0; 4], module_fd.to_ne_bytes()].concat();
            *loads.borrow_mut() = (insns(call), vec![array == expected]);
        }
        answer
    });
    kernel.lacks(&[], &source);
    kernel.file("/sys/kernel/btf/a_module", &module);
    let btf = Btf::from_sys_fs().unwrap();
    let mut ebpf = object_of(&format!(
        "{DECLARATIONS} SEC(\"fexit/traced\") int p(void *ctx) {{
             in_module();
             return of_kernel(1) + (absent ? absent(1) : 0);
         }}"
    ));
    fexit(&mut ebpf)
        .load_target(&Target::Section, &btf)
        .unwrap();
    let (insns, is_array) = seen.take();
    assert_eq!(is_array, [true]);
    // `call` of a kernel function (pseudo source 2), and of a missing one.
    let calls: Insns = insns.into_iter().filter(|insn| insn.0 == 0x85).collect();
    let id = |btf: &Btf| btf.function_id("of_kernel").unwrap().cast_signed();
    let in_module = (base.raw().unwrap().count() + 2).cast_signed();
    assert_eq!(
        calls[..2],
        [(0x85, 0x20, 1, in_module), (0x85, 0x20, 0, id(&base))]
    );
    assert_eq!((calls[2].1, calls[2].3 >= 2_002_000_000), (0, true));
}

#[test]
fn symbol_address_and_configuration_value_are_the_kernels() {
    let seen = Rc::new(RefCell::new((Vec::new(), Vec::new())));
    let calls = Rc::clone(&seen);
    let (kernel, btf) = kernel(move |call| {
        match call.cmd {
            BPF_PROG_LOAD => calls.borrow_mut().0 = insns(call),
            BPF_MAP_UPDATE_ELEM => {
                let elem: MapElemAttr = *call.attr();
                calls.borrow_mut().1 = fake::memory(elem.value, 4);
            }
            _ => {}
        }
        None
    });
    kernel.file("/proc/kallsyms", "ffffffff81234567 D address\n");
    *kernel.release.borrow_mut() = "6.1.0-7-amd64".to_owned();
    kernel.file("/boot/config-6.1.0-7-amd64", "CONFIG_HZ=250\n");
    let mut ebpf = object_of(&format!(
        "{DECLARATIONS} SEC(\"fexit/traced\") u64 p(void *ctx) {{ return (u64)&address + CONFIG_HZ; }}"
    ));
    fexit(&mut ebpf)
        .load_target(&Target::Section, &btf)
        .unwrap();
    let (insns, value) = seen.take();
    assert_eq!(value, 250i32.to_ne_bytes());
    let low_and_high = |pair: &[(u8, u8, i16, i32)]| {
        let is_address = pair[0].0 == 0x18 && pair[0].1 >> 4 == 0;
        is_address.then_some((pair[0].3.cast_unsigned(), pair[1].3.cast_unsigned()))
    };
    let address = insns.windows(2).find_map(low_and_high);
    assert_eq!(address, Some((0x8123_4567, 0xffff_ffff)));
}
