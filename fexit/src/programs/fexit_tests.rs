//! The bookkeeping of load, attach, detach, take_link and unload, with answers made up for the kernel.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{
    self, BPF_LINK_CREATE, BPF_LINK_GET_NEXT_ID, BPF_PROG_LOAD, BPF_RAW_TRACEPOINT_OPEN,
};

use crate::programs::{FExit, FExitLink, LinkError, ProgramError};
use crate::sys::fake;
use crate::testing::compile;
use crate::{Btf, BtfError, Ebpf, Feature};

const SOURCE: &str = "
    SEC(\"fexit/traced\") int one(u64 *ctx) { return 0; }
    SEC(\"fexit\") int bare(u64 *ctx) { return 0; }
    SEC(\"xdp\") int packet(void *ctx) { return 2; }
    SEC(\"fsomething/new\") int other_type(void *ctx) { return 0; }
    int traced(int a, int b) { return a * b; }
    SEC(\"xdp\") int caller(void *ctx) { return traced((int)(long)ctx, 3); }";

pub(super) type Calls = Rc<fake::Kernel>;

/// A kernel that allows everything, but for what `refuse` says of the n-th call of its kind.
pub(super) fn kernel(refuse: impl Fn(bpf_cmd, usize) -> Option<i32> + 'static) -> Calls {
    fake::kernel(move |call| refuse(call.cmd, call.before))
}

pub(super) fn count(calls: &Calls, cmd: bpf_cmd) -> usize {
    calls.count(cmd)
}

pub(super) fn fixture() -> (Ebpf, Btf) {
    let object = compile(SOURCE);
    let btf = crate::elf::examine(&object).unwrap().1.btf;
    (
        Ebpf::load(&object).unwrap(),
        Btf::parse(&btf, crate::Endianness::default()).unwrap(),
    )
}

pub(super) fn fexit(ebpf: &mut Ebpf) -> &mut FExit {
    ebpf.program_mut("one").unwrap().try_into().unwrap()
}

#[test]
fn each_call_out_of_order_has_its_own_error() {
    let (mut ebpf, btf) = fixture();
    kernel(|_, _| None);
    let program = fexit(&mut ebpf);
    assert!(matches!(program.fd(), Err(ProgramError::NotLoaded)));
    assert!(matches!(program.attach(), Err(ProgramError::NotLoaded)));
    assert!(matches!(program.unload(), Err(ProgramError::NotLoaded)));
    program.load("traced", &btf).unwrap();
    assert!(program.fd().is_ok() && program.raw_fd().is_some());
    assert!(matches!(
        program.load("traced", &btf),
        Err(ProgramError::AlreadyLoaded)
    ));
    let id = program.attach().unwrap();
    assert!(matches!(
        program.attach(),
        Err(ProgramError::AlreadyAttached)
    ));
    program.unload().unwrap();
    assert!(matches!(program.detach(id), Err(ProgramError::NotAttached)));
    assert!(matches!(program.fd(), Err(ProgramError::NotLoaded)));
}

#[test]
fn taken_link_counts_as_attached_until_it_is_dropped() {
    let (mut ebpf, btf) = fixture();
    kernel(|_, _| None);
    let program = fexit(&mut ebpf);
    program.load("traced", &btf).unwrap();
    let id = program.attach().unwrap();
    let link = program.take_link(id).unwrap();
    assert!(matches!(
        program.attach(),
        Err(ProgramError::AlreadyAttached)
    ));
    drop(link);
    program.attach().unwrap();
}

/// A kernel before 5.8: a loaded program can be attached only once, and links have no ids.
fn old_kernel(refuse: impl Fn(bpf_cmd, usize) -> Option<i32> + 'static) -> Calls {
    let spent = Cell::new(false);
    let kernel = kernel(move |cmd, before| match (cmd, refuse(cmd, before)) {
        (_, Some(errno)) => Some(errno),
        (BPF_LINK_CREATE | BPF_LINK_GET_NEXT_ID, None) => Some(libc::EINVAL),
        (BPF_RAW_TRACEPOINT_OPEN, None) => spent.replace(true).then_some(libc::EBUSY),
        (BPF_PROG_LOAD, None) => {
            spent.set(false);
            None
        }
        _ => None,
    });
    kernel.lacks(&[Feature::LinkTarget], "");
    kernel
}

#[test]
fn attaching_again_loads_anew_only_where_the_kernel_cannot() {
    for (lacking, errno, reloads) in [
        (&[][..], None, 0),
        (&[Feature::LinkTarget], Some(libc::EBUSY), 1),
        (&[Feature::LinkTarget], Some(libc::ENOENT), 1),
    ] {
        let (mut ebpf, btf) = fixture();
        let calls = kernel(move |cmd, before| match cmd {
            BPF_LINK_CREATE => Some(libc::EINVAL), // as before 5.19
            BPF_RAW_TRACEPOINT_OPEN if before == 1 => errno,
            _ => None,
        });
        calls.lacks(lacking, "");
        let program = fexit(&mut ebpf);
        program.load("traced", &btf).unwrap();
        let id = program.attach().unwrap();
        program.detach(id).unwrap();
        let id = program.attach().unwrap();
        program.detach(id).unwrap();
        assert_eq!(count(&calls, BPF_PROG_LOAD), 1 + reloads, "{errno:?}");
    }
}

#[test]
fn attach_error_is_returned_where_reattach_works() {
    let (mut ebpf, btf) = fixture();
    let calls =
        kernel(|cmd, before| (cmd == BPF_LINK_CREATE && before == 1).then_some(libc::EBUSY));
    let program = fexit(&mut ebpf);
    program.load("traced", &btf).unwrap();
    let id = program.attach().unwrap();
    program.detach(id).unwrap();
    let error = program.attach().unwrap_err();
    assert!(matches!(error, ProgramError::AttachError { .. }), "{error}");
    assert_eq!(count(&calls, BPF_PROG_LOAD), 1);
}

#[test]
fn program_stays_loaded_after_a_failed_reload() {
    let (mut ebpf, btf) = fixture();
    // Each load is tried without a log, and with one.
    old_kernel(|cmd, before| {
        (cmd == BPF_PROG_LOAD && (1..3).contains(&before)).then_some(libc::ENOMEM)
    });
    let program = fexit(&mut ebpf);
    program.load("traced", &btf).unwrap();
    let id = program.attach().unwrap();
    program.detach(id).unwrap();
    let error = program.attach().unwrap_err();
    assert!(matches!(error, ProgramError::LoadError { .. }), "{error}");
    assert!(program.fd().is_ok());
    program.attach().unwrap();
}

#[test]
fn link_may_outlive_its_given_away_descriptor() {
    let (mut ebpf, btf) = fixture();
    let calls = old_kernel(|_, _| None);
    let program = fexit(&mut ebpf);
    program.load("traced", &btf).unwrap();
    let id = program.attach().unwrap();
    let given = OwnedFd::from(program.take_link(id).unwrap());
    for held in [Some(given), None] {
        let error = program.attach().unwrap_err();
        assert!(matches!(error, ProgramError::AlreadyAttached), "{error}");
        drop(held);
    }
    assert_eq!(count(&calls, BPF_PROG_LOAD), 1);
    // `unload` helps.
    program.unload().unwrap();
    program.load("traced", &btf).unwrap();
    program.attach().unwrap();
}

#[test]
fn pin_keeps_the_program_attached_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let (mut ebpf, btf) = fixture();
    let calls = old_kernel(|_, _| None);
    let program = fexit(&mut ebpf);
    program.load("traced", &btf).unwrap();
    let id = program.attach().unwrap();
    let link = program.take_link(id).unwrap();
    // The kernel would create these files.
    paths
        .iter()
        .for_each(|path| std::fs::write(path, "").unwrap());
    let [one, two] = paths.each_ref().map(|path| link.pin(path).unwrap());
    drop(one.unpin().unwrap());
    drop((link, FExitLink::from(two)));
    let error = program.attach().unwrap_err();
    assert!(matches!(error, ProgramError::AlreadyAttached), "{error}");
    std::fs::remove_file(&paths[1]).unwrap();
    program.attach().unwrap();
    assert_eq!(count(&calls, BPF_PROG_LOAD), 2);
}

#[test]
fn failed_unpin_returns_the_link() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("link");
    let (mut ebpf, btf) = fixture();
    kernel(|_, _| None);
    let program = fexit(&mut ebpf);
    program.load("traced", &btf).unwrap();
    let id = program.attach().unwrap();
    std::fs::write(&path, "").unwrap();
    let pinned = program.take_link(id).unwrap().pin(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = pinned.unpin().unwrap_err();
    let LinkError::Unpin { pinned, .. } = error else {
        panic!("{error}")
    };
    assert!(matches!(
        program.attach(),
        Err(ProgramError::AlreadyAttached)
    ));
    drop(FExitLink::from(*pinned));
    program.attach().unwrap();
}

#[test]
fn ebusy_does_not_cause_a_reload() {
    let (mut ebpf, btf) = fixture();
    let calls = kernel(|cmd, _| match cmd {
        BPF_LINK_CREATE => Some(libc::EINVAL),
        BPF_RAW_TRACEPOINT_OPEN => Some(libc::EBUSY),
        _ => None,
    });
    let program = fexit(&mut ebpf);
    program.load("traced", &btf).unwrap();
    let error = program.attach().unwrap_err();
    assert!(
        matches!(&error, ProgramError::AttachError { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("`traced` cannot be patched"),
        "{error}"
    );
    assert_eq!(count(&calls, BPF_PROG_LOAD), 1);
}

#[test]
fn ebusy_names_the_cause_that_the_kernel_shows() {
    const FUNCTIONS: &str = "/sys/kernel/tracing/available_filter_functions";
    const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
    for (files, expected) in [
        (
            &[][..],
            "`notrace`, as every `inline` function is, or something",
        ),
        (
            &[(FUNCTIONS, "a\ntraced_too\nb [xfs]\n")],
            "; attach to one of its callers",
        ),
        (
            &[(FUNCTIONS, "a\ntraced [xfs]\n")],
            "patched: something else holds the function",
        ),
        (
            &[(FTRACE, "0\n"), (FUNCTIONS, "a\n")],
            "patched: ftrace is off",
        ),
        (
            &[(FTRACE, "1\n"), (FUNCTIONS, "a\n")],
            "ftrace cannot trace the function",
        ),
    ] {
        let (mut ebpf, btf) = fixture();
        let calls = kernel(|cmd, _| match cmd {
            BPF_LINK_CREATE => Some(libc::EINVAL),
            BPF_RAW_TRACEPOINT_OPEN => Some(libc::EBUSY),
            _ => None,
        });
        for (path, content) in files {
            calls.file(path, content);
        }
        let program = fexit(&mut ebpf);
        program.load("traced", &btf).unwrap();
        let error = program.attach().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn target_is_the_argument_or_the_section() {
    let (mut ebpf, btf) = fixture();
    kernel(|_, _| None);
    let program = fexit(&mut ebpf);
    let error = program.load("tracd", &btf).unwrap_err();
    let ProgramError::Btf(BtfError::UnknownBtfTypeName { suggestions, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(suggestions.first().map(String::as_str), Some("traced"));
    program
        .load_target(&crate::programs::Target::Section, &btf)
        .unwrap();

    let bare: &mut FExit = ebpf.program_mut("bare").unwrap().try_into().unwrap();
    let error = bare
        .load_target(&crate::programs::Target::Section, &btf)
        .unwrap_err();
    assert!(
        error.to_string().contains("`fexit` names no target"),
        "{error}"
    );
}

#[test]
fn program_of_another_type_is_refused_by_name() {
    let (mut ebpf, _) = fixture();
    let error = <&mut FExit>::try_from(ebpf.program_mut("packet").unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "program `packet` is of type `xdp`, not `fexit`"
    );
    let error = <&FExit>::try_from(ebpf.program("other_type").unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "program `other_type` is of type `fsomething`, not `fexit`"
    );
}
