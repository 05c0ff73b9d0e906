//! Links: lifetime, pins and information.

use std::cell::RefCell;
use std::io::PipeReader;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use aya_obj::generated::bpf_cmd::{
    BPF_LINK_GET_FD_BY_ID, BPF_LINK_GET_NEXT_ID, BPF_OBJ_GET, BPF_OBJ_GET_INFO_BY_FD, BPF_OBJ_PIN,
    BPF_PROG_GET_NEXT_ID,
};

use super::{attaches, fexit, kernel, number, object};
use crate::programs::{FExitLink, LinkError, PinnedLink, Target, loaded_links};
use crate::sys::attr::{IdAttr, InfoAttr, LinkInfoRaw, ObjAttr};
use crate::sys::fake;
use crate::sys::perf::wait_readable;
use crate::{Btf, Ebpf};

/// Links that show whether their last descriptor is closed, which detaches them.
#[derive(Clone, Default)]
struct Links(Rc<RefCell<Vec<PipeReader>>>);

impl Links {
    fn kernel() -> (Self, Btf) {
        let links = Self::default();
        let made = links.clone();
        let (_, btf) = kernel(move |call| {
            if attaches(call) {
                let (reader, writer) = std::io::pipe().unwrap();
                made.0.borrow_mut().push(reader);
                call.fd = Some(writer.into());
            }
            None
        });
        (links, btf)
    }

    /// For each created link: whether it is still open.
    fn open(&self) -> Vec<bool> {
        let links = self.0.borrow();
        let is_open =
            |link: &PipeReader| !wait_readable(&[link.as_fd()], Some(Duration::ZERO)).unwrap();
        links.iter().map(is_open).collect()
    }
}

fn attached() -> (Links, Btf, Ebpf, crate::programs::FExitLinkId) {
    let (links, btf) = Links::kernel();
    let mut ebpf = object("fexit/traced");
    let program = fexit(&mut ebpf);
    program.load_target(&Target::Section, &btf).unwrap();
    let id = program.attach().unwrap();
    assert_eq!(links.open(), [true]);
    (links, btf, ebpf, id)
}

#[test]
fn detach_closes_the_link() {
    let (links, _, mut ebpf, id) = attached();
    fexit(&mut ebpf).detach(id).unwrap();
    assert_eq!(links.open(), [false]);
    let id = fexit(&mut ebpf).attach().unwrap();
    assert_eq!(links.open(), [false, true]);
    fexit(&mut ebpf).detach(id).unwrap();
    assert_eq!(links.open(), [false, false]);
}

#[test]
fn unload_and_drop_close_the_links_that_the_program_owns() {
    let (links, _, mut ebpf, _) = attached();
    fexit(&mut ebpf).unload().unwrap();
    assert_eq!(links.open(), [false]);

    let (links, _, ebpf, _) = attached();
    drop(ebpf);
    assert_eq!(links.open(), [false]);
}

#[test]
fn taken_link_is_closed_only_by_its_owner() {
    let (links, _, mut ebpf, id) = attached();
    let link = fexit(&mut ebpf).take_link(id).unwrap();
    fexit(&mut ebpf).unload().unwrap();
    drop(ebpf);
    assert_eq!(links.open(), [true]);
    drop(link);
    assert_eq!(links.open(), [false]);

    let (links, _, mut ebpf, id) = attached();
    let link = fexit(&mut ebpf).take_link(id).unwrap();
    link.detach().unwrap();
    assert_eq!(links.open(), [false]);
}

#[test]
fn link_is_pinned_at_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pinned");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let calls = Rc::clone(&seen);
    let (_, btf) = kernel(move |call| {
        if matches!(call.cmd, BPF_OBJ_PIN | BPF_OBJ_GET) {
            let obj: ObjAttr = *call.attr();
            let path = fake::text(obj.pathname);
            if call.cmd == BPF_OBJ_PIN {
                std::fs::write(&path, "").unwrap();
            }
            calls
                .borrow_mut()
                .push((call.cmd, path, obj.bpf_fd, obj.file_flags));
        }
        if call.cmd == BPF_OBJ_GET_INFO_BY_FD {
            call.set_info(&LinkInfoRaw {
                kind: 2,
                attach_type: 25,
                ..LinkInfoRaw::default()
            });
        }
        None
    });
    let mut ebpf = object("fexit/traced");
    let program = fexit(&mut ebpf);
    program.load_target(&Target::Section, &btf).unwrap();
    let id = program.attach().unwrap();
    let link = program.take_link(id).unwrap();
    let name = path.to_str().unwrap().to_owned();
    let pinned = link.pin(&path).unwrap();
    assert_eq!(seen.take(), [(BPF_OBJ_PIN, name.clone(), number(&link), 0)]);
    drop(pinned);
    let pinned = PinnedLink::from_pin(&path).unwrap();
    assert_eq!(seen.take(), [(BPF_OBJ_GET, name.clone(), 0, 0)]);
    drop(pinned.unpin().unwrap());
    assert!(!path.exists());
    program.unload().unwrap();
    program.load_target(&Target::Section, &btf).unwrap();
    let path = dir.path().join("program");
    program.pin(&path).unwrap();
    let fd = number(program.fd().unwrap());
    assert_eq!(
        seen.take(),
        [(BPF_OBJ_PIN, path.to_str().unwrap().to_owned(), fd, 0)]
    );
}

#[test]
fn only_links_of_supported_types_are_opened_from_a_pin() {
    for (fdinfo, kind, attach_type, found) in [
        ("link_type:\ttracing\n", 2, 25, None),
        ("link_type:\ttracing\n", 2, 58, None),
        ("link_type:\ttracing\n", 2, 24, None),
        ("link_type:\traw_tracepoint\n", 1, 0, None),
        ("link_type:\txdp\n", 6, 0, Some("type xdp")),
        ("prog_type:\t26\n", 0, 0, Some("a program or a map")),
        ("link_type:\ttracing_multi\n", 2, 0, None),
        ("link_type:\ttracing\n", 2, 0, Some("attach type 0")),
    ] {
        let files = Rc::new(RefCell::new(None::<Rc<fake::Kernel>>));
        let shown = Rc::clone(&files);
        let (kernel, _) = kernel(move |call| {
            if call.cmd == BPF_OBJ_GET {
                let fd = fake::fd();
                let kernel = shown.borrow().clone().unwrap();
                kernel.file(&format!("/proc/self/fdinfo/{}", number(&fd)), fdinfo);
                call.fd = Some(fd);
            }
            if call.cmd == BPF_OBJ_GET_INFO_BY_FD {
                call.set_info(&LinkInfoRaw {
                    kind,
                    attach_type,
                    ..LinkInfoRaw::default()
                });
            }
            None
        });
        files.replace(Some(kernel));
        match (FExitLink::from_pin("/sys/fs/bpf/l"), found) {
            (Ok(_), None) => {}
            (Err(LinkError::WrongObject { found, .. }), Some(expected)) => {
                assert!(found.contains(expected), "{found}");
            }
            (other, _) => panic!("{fdinfo:?} {attach_type}: {other:?}"),
        }
    }
}

#[test]
fn links_are_listed_by_their_ids_with_program_and_target() {
    let open = Rc::new(RefCell::new(Vec::new()));
    let (kernel, _) = kernel(move |call| {
        match call.cmd {
            BPF_LINK_GET_NEXT_ID => {
                let attr: &mut IdAttr = call.attr();
                match attr.id {
                    0 => attr.next_id = 3,
                    3 => attr.next_id = 8,
                    8 => attr.next_id = 9,
                    _ => return Some(libc::ENOENT),
                }
            }
            BPF_LINK_GET_FD_BY_ID => {
                let id = call.attr::<IdAttr>().id;
                if id == 8 {
                    return Some(libc::ENOENT); // gone meanwhile
                }
                let fd = fake::fd();
                open.borrow_mut().push((number(&fd), id));
                call.fd = Some(fd);
            }
            BPF_OBJ_GET_INFO_BY_FD => {
                let fd = call.attr::<InfoAttr>().bpf_fd;
                let open = open.borrow();
                let (_, id) = *open.iter().rev().find(|link| link.0 == fd).unwrap();
                call.set_info(&LinkInfoRaw {
                    kind: 2,
                    id,
                    prog_id: 70 + id,
                    attach_type: 25,
                    target_obj_id: 1,
                    target_btf_id: 500 + id,
                    ..LinkInfoRaw::default()
                });
            }
            _ => {}
        }
        None
    });
    let links: Vec<_> = loaded_links().map(Result::unwrap).collect();
    let shown: Vec<_> = links
        .iter()
        .map(|link| {
            (
                link.id,
                link.program_id,
                link.attach_type,
                link.target().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [(3, 73, 25, (1, 503)), (9, 79, 25, (1, 509))]);
    assert_eq!(kernel.count(BPF_PROG_GET_NEXT_ID), 0);
}
