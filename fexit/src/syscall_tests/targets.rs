//! Loading for functions of modules and of other programs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{
    BPF_BTF_GET_FD_BY_ID, BPF_BTF_GET_NEXT_ID, BPF_OBJ_GET_INFO_BY_FD, BPF_PROG_GET_FD_BY_ID,
    BPF_PROG_LOAD,
};
use aya_obj::generated::{bpf_btf_info, bpf_prog_info};

use super::{FEXIT, TARGETS, TRACING, fexit, kernel, last_load, number, object, target_of};
use crate::programs::Target;
use crate::sys::attr::{IdAttr, InfoAttr, ProgLoadAttr};
use crate::sys::fake;
use crate::{Btf, testing};

/// Answers for BTF objects: id, name, types, and whether it is the kernel's own or a module's.
pub(super) fn btf_objects(
    objects: Vec<(u32, &'static str, Vec<u8>, bool)>,
) -> impl FnMut(&mut fake::Call<'_>) -> Option<i32> {
    let mut opened = BTreeMap::new();
    move |call| {
        match call.cmd {
            BPF_BTF_GET_NEXT_ID => {
                let attr: &mut IdAttr = call.attr();
                let next = objects
                    .iter()
                    .map(|object| object.0)
                    .find(|&id| id > attr.id);
                attr.next_id = match next {
                    Some(id) => id,
                    None => return Some(libc::ENOENT),
                };
            }
            BPF_BTF_GET_FD_BY_ID => {
                let id = call.attr::<IdAttr>().id;
                let fd = fake::fd();
                opened.insert(number(&fd), id);
                call.fd = Some(fd);
            }
            BPF_OBJ_GET_INFO_BY_FD => {
                let attr: InfoAttr = *call.attr();
                let id = opened.get(&attr.bpf_fd)?;
                let (_, name, types, is_kernel) = objects.iter().find(|object| object.0 == *id)?;
                let mut info = call.info::<bpf_btf_info>();
                if info.btf_size as usize >= types.len() {
                    fake::write(info.btf, types);
                }
                if info.name_len as usize > name.len() {
                    fake::write(info.name, &[name.as_bytes(), b"\0"].concat());
                }
                info.btf_size = u32::try_from(types.len()).unwrap();
                info.id = *id;
                info.kernel_btf = u32::from(*is_kernel);
                call.set_info(&info);
            }
            _ => {}
        }
        None
    }
}

#[test]
fn module_function_is_passed_with_the_btf_of_the_module() {
    let base = {
        let kernel = fake::kernel(|_| None);
        kernel.lacks(&[], TARGETS);
        Btf::from_sys_fs().unwrap()
    };
    let module = testing::split_btf(base.raw().unwrap(), "void in_module(void) {}");
    let objects = vec![
        (1, "vmlinux", vec![], true),
        (5, "a_module", vec![], false),
        (6, "another", vec![], true),
        (9, "a_module", vec![], true),
    ];
    let mut answer = btf_objects(objects);
    let opened = Rc::new(RefCell::new(None));
    let seen = Rc::clone(&opened);
    let (kernel, btf) = kernel(move |call| {
        let answer = answer(call);
        if call.cmd == BPF_BTF_GET_FD_BY_ID && call.attr::<IdAttr>().id == 9 {
            seen.replace(call.fd.as_ref().map(number));
        }
        answer
    });
    kernel.file("/sys/kernel/btf/a_module", &module);
    for target in ["a_module:in_module", "in_module"] {
        let mut ebpf = object("fexit");
        let program = fexit(&mut ebpf);
        program.load(target, &btf).unwrap();
        let id = base.raw().unwrap().count() + 2;
        let owner = opened.take().unwrap();
        let expected = [TRACING, FEXIT, 0, id, owner];
        assert_eq!(target_of(&last_load(&kernel)), expected, "{target}");
    }
}

#[test]
fn program_target_is_passed_with_its_descriptor_and_its_own_btf() {
    let types = testing::btf(&format!(
        "{TARGETS} SEC(\"xdp\") int main_program(void *ctx) {{ return 2; }}"
    ));
    let own = Btf::parse(&types, crate::Endianness::default()).unwrap();
    let [main, sub] = ["main_program", "traced"].map(|name| own.function_id(name).unwrap());
    let mut btf_answers = btf_objects(vec![(3, "", types, false)]);
    let opened = Rc::new(RefCell::new(Vec::new()));
    let programs = Rc::clone(&opened);
    let (kernel, btf) = kernel(move |call| {
        match call.cmd {
            BPF_PROG_GET_FD_BY_ID => {
                assert_eq!(call.attr::<IdAttr>().id, 44);
                let fd = fake::mappable(0);
                programs
                    .borrow_mut()
                    .push((number(&fd), fake::file_of(number(&fd))));
                call.fd = Some(fd);
            }
            BPF_OBJ_GET_INFO_BY_FD => {
                let fd = call.attr::<InfoAttr>().bpf_fd;
                if programs.borrow().iter().any(|program| program.0 == fd) {
                    let mut info = call.info::<bpf_prog_info>();
                    (info.btf_id, info.func_info_rec_size) = (3, 8);
                    if info.nr_func_info == 2 {
                        let records = [0, main, 40, sub];
                        fake::write(info.func_info, crate::sys::bytes_of(&records));
                    }
                    info.nr_func_info = 2;
                    call.set_info(&info);
                    return None;
                }
            }
            BPF_PROG_LOAD => {
                let attach_fd = call.attr::<ProgLoadAttr>().attach_fd;
                let target = programs.borrow().last().unwrap().1;
                assert_eq!(
                    fake::file_of(attach_fd),
                    target,
                    "the program itself, or a copy"
                );
            }
            _ => {}
        }
        btf_answers(call)
    });
    for (function, id) in [(None, main), (Some("traced"), sub)] {
        let mut ebpf = object("fexit");
        let target = Target::program_id(44, function).unwrap();
        fexit(&mut ebpf).load_target(&target, &btf).unwrap();
        let load = last_load(&kernel);
        assert_eq!(target_of(&load)[..4], [TRACING, FEXIT, 0, id]);
        assert_ne!(load.attach_fd, 0);
    }
}

#[test]
fn btf_names_are_not_requested_before_5_11() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&asked);
    fake::kernel(move |call| {
        match call.cmd {
            BPF_BTF_GET_NEXT_ID => {
                let attr: &mut IdAttr = call.attr();
                if attr.id > 0 {
                    return Some(libc::ENOENT);
                }
                attr.next_id = 1;
            }
            BPF_OBJ_GET_INFO_BY_FD => {
                let info = call.info::<bpf_btf_info>();
                seen.borrow_mut().push((info.name, info.name_len));
                // The size of the struct before 5.11.
                call.attr::<InfoAttr>().info_len = 16;
            }
            _ => {}
        }
        None
    });
    assert!(crate::sys::kernel_btf("vmlinux").unwrap().is_none());
    assert_eq!(asked.take(), [(0, 0), (0, 0)]);
}
