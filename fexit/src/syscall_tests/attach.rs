//! Attaching programs.

use std::cell::RefCell;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{BPF_LINK_CREATE, BPF_RAW_TRACEPOINT_OPEN};

use super::{FEXIT, FEXIT_MULTI, FSESSION, FSESSION_MULTI, fexit, kernel, number, object};
use crate::programs::Target;
use crate::sys::attr::{LinkCreateAttr, LinkCreateMultiAttr, RawTracepointAttr};
use crate::sys::fake;

#[test]
fn interrupted_call_is_repeated_a_few_times() {
    for (interruptions, works) in [(9, true), (10, false)] {
        let (kernel, btf) = kernel(move |call| {
            let interrupted = call.cmd == BPF_LINK_CREATE && call.before < interruptions;
            interrupted.then_some(libc::EAGAIN)
        });
        let mut ebpf = object("fexit/traced");
        let program = fexit(&mut ebpf);
        program.load_target(&Target::Section, &btf).unwrap();
        assert_eq!(program.attach().is_ok(), works);
        assert_eq!(kernel.count(BPF_LINK_CREATE), 10);
    }
}

#[test]
fn link_is_created_with_program_attach_type_and_cookie() {
    let (kernel, btf) = kernel(|_| None);
    for (section, attach_type) in [("fexit", FEXIT), ("fsession", FSESSION)] {
        for cookie in [None, Some(0x1122_3344_5566_7788)] {
            let mut ebpf = object(&format!("{section}/traced"));
            let program = fexit(&mut ebpf);
            program.load_target(&Target::Section, &btf).unwrap();
            match cookie {
                None => program.attach(),
                Some(cookie) => program.attach_with_cookie(cookie),
            }
            .unwrap();
            let link: LinkCreateAttr = *kernel.attrs().last().unwrap();
            assert_eq!(link.prog_fd, number(program.fd().unwrap()));
            assert_eq!(link.attach_type, attach_type);
            assert_eq!(link.cookie, cookie.unwrap_or(0));
            let unused = [link.target_fd, link.flags, link.target_btf_id, link.pad];
            assert_eq!(unused, [0; 4]);
        }
    }
    assert_eq!(kernel.count(BPF_RAW_TRACEPOINT_OPEN), 0);
}

#[test]
fn before_5_19_the_older_call_attaches_but_has_no_cookie() {
    let (kernel, btf) = kernel(|call| (call.cmd == BPF_LINK_CREATE).then_some(libc::EINVAL));
    let mut ebpf = object("fexit/traced");
    let program = fexit(&mut ebpf);
    program.load_target(&Target::Section, &btf).unwrap();
    program.attach_with_cookie(7).unwrap_err();
    assert_eq!(kernel.count(BPF_RAW_TRACEPOINT_OPEN), 0);
    program.attach().unwrap();
    let [open] = kernel.attrs::<RawTracepointAttr>()[..] else {
        panic!("one call")
    };
    assert_eq!(open.prog_fd, number(program.fd().unwrap()));
    assert_eq!((open.name, open.pad), (0, 0));
}

#[test]
fn another_refusal_of_a_link_is_no_reason_for_the_older_call() {
    let (kernel, btf) = kernel(|call| (call.cmd == BPF_LINK_CREATE).then_some(libc::EBUSY));
    let mut ebpf = object("fexit/traced");
    let program = fexit(&mut ebpf);
    program.load_target(&Target::Section, &btf).unwrap();
    program.attach().unwrap_err();
    assert_eq!(kernel.count(BPF_RAW_TRACEPOINT_OPEN), 0);
}

#[test]
fn one_link_on_many_functions_has_their_ids_and_cookies() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let arrays = Rc::clone(&seen);
    let (kernel, btf) = kernel(move |call| {
        if call.cmd == BPF_LINK_CREATE {
            let link: &mut LinkCreateMultiAttr = call.attr();
            let count = u64::from(link.count);
            let ids = fake::memory(link.ids, count * 4);
            let cookies = match link.cookies {
                0 => Vec::new(),
                cookies => fake::memory(cookies, count * 8),
            };
            let ids: Vec<_> = ids
                .as_chunks()
                .0
                .iter()
                .map(|&id| u32::from_ne_bytes(id))
                .collect();
            let cookies = cookies.as_chunks().0.iter().map(|&c| u64::from_ne_bytes(c));
            arrays.borrow_mut().push((ids, cookies.collect::<Vec<_>>()));
        }
        None
    });
    let mut ids = ["traced", "other"].map(|name| btf.function_id(name).unwrap());
    ids.sort_unstable();
    for (section, attach_type) in [("fexit", FEXIT_MULTI), ("fsession", FSESSION_MULTI)] {
        let mut ebpf = object(section);
        let program = fexit(&mut ebpf);
        program
            .load_target(&Target::Functions(&["traced", "other"]), &btf)
            .unwrap();
        program.attach().unwrap();
        let link: LinkCreateMultiAttr = *kernel.attrs().last().unwrap();
        assert_eq!(link.prog_fd, number(program.fd().unwrap()));
        assert_eq!(
            (link.attach_type, link.target_fd, link.flags),
            (attach_type, 0, 0)
        );
        program.unload().unwrap();
        program
            .load_target(&Target::Functions(&["traced", "other"]), &btf)
            .unwrap();
        program.attach_with_cookie(9).unwrap();
        let expected = [(ids.to_vec(), vec![]), (ids.to_vec(), vec![9, 9])];
        assert_eq!(seen.take(), expected);
    }
}
