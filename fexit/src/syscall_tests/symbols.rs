//! Checks of names and settings by perf events, `/proc` and `/sys`.

use std::cell::RefCell;
use std::rc::Rc;

use super::{TARGETS, fexit, kernel, object};
use crate::programs::ProgramError;
use crate::sys::fake;
use crate::{AmbiguityPolicy, Btf, BtfError, EbpfLoader};

const SYMBOLS: &str = "ffffffff81000000 T traced\n\
    ffffffff81000010 t traced\n\
    ffffffff81000020 T other\n\
    ffffffff82000000 T _etext\n";

#[test]
fn ambiguity_is_checked_by_a_kprobe_that_the_kernel_refuses() {
    // It counts and sorts its symbols, whatever its release.
    let kernel = fake::kernel(|_| None);
    let counts = "struct sym_count_ctx { unsigned count; } counts;";
    kernel.lacks(&[], &format!("{TARGETS} {counts}"));
    *kernel.release.borrow_mut() = "5.14.0-570.el9".to_owned();
    let btf = Btf::from_sys_fs().unwrap();
    kernel.file("/sys/bus/event_source/devices/kprobe/type", "8\n");
    kernel.file("/proc/kallsyms", SYMBOLS);
    let asked = Rc::new(RefCell::new(Vec::new()));
    let names = Rc::clone(&asked);
    kernel.on_perf_event_open(move |attr, cpu| {
        let name = fake::text(attr.config1);
        let is_ambiguous = name == "traced";
        let size = u32::try_from(size_of_val(attr)).unwrap();
        assert_eq!((attr.kind, attr.size, attr.config, cpu), (8, size, 0, 0));
        assert_eq!(attr.config2, 0x7fff_ffff, "an offset that no function has");
        names.borrow_mut().push(name);
        Some(if is_ambiguous {
            libc::EADDRNOTAVAIL
        } else {
            libc::EINVAL
        })
    });
    let mut ebpf = object("fexit");
    let error = fexit(&mut ebpf).load("traced", &btf).unwrap_err();
    let ProgramError::Btf(BtfError::AmbiguousName { candidates, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(candidates.len(), 2, "{candidates:?}");
    fexit(&mut ebpf).load("other", &btf).unwrap();
    assert_eq!(asked.take(), ["traced", "other"]);
}

#[test]
fn kallsyms_is_read_on_a_kernel_that_does_not_count_symbols() {
    let (kernel, btf) = kernel(|_| None);
    *kernel.release.borrow_mut() = "6.7.1".to_owned();
    kernel.file("/proc/kallsyms", SYMBOLS);
    kernel.on_perf_event_open(|_, _| panic!("it is not asked"));
    let mut ebpf = object("fexit");
    let error = fexit(&mut ebpf).load("traced", &btf).unwrap_err();
    assert!(error.to_string().contains("traced"), "{error}");
    fexit(&mut ebpf).load("other", &btf).unwrap();

    let source = crate::testing::compile("SEC(\"fexit\") int p(u64 *ctx) { return 0; }");
    let mut ebpf = EbpfLoader::new()
        .ambiguity_policy(AmbiguityPolicy::BtfOnly)
        .load(&source)
        .unwrap();
    fexit(&mut ebpf).load("traced", &btf).unwrap();
}

#[test]
fn program_is_not_attached_while_ftrace_is_off() {
    for (enabled, works) in [("0\n", false), ("1\n", true)] {
        let (kernel, btf) = kernel(|_| None);
        kernel.file("/proc/sys/kernel/ftrace_enabled", enabled);
        let mut ebpf = object("fexit");
        let program = fexit(&mut ebpf);
        program.load("traced", &btf).unwrap();
        assert_eq!(program.attach().is_ok(), works);
    }
}

#[test]
fn eperm_names_the_missing_capabilities_of_the_thread() {
    for (effective, last, expected) in [
        ("0000000000000000", "40", "lacks CAP_BPF and CAP_PERFMON"),
        ("0000008000000000", "40", "lacks CAP_PERFMON;"),
        ("000001ffffffffff", "40", "the process has CAP_SYS_ADMIN"),
    ] {
        let (kernel, btf) = kernel(|call| {
            use aya_obj::generated::bpf_cmd::BPF_PROG_LOAD;
            (call.cmd == BPF_PROG_LOAD).then_some(libc::EPERM)
        });
        kernel.file(
            "/proc/thread-self/status",
            format!("CapEff:\t{effective}\n"),
        );
        kernel.file("/proc/sys/kernel/cap_last_cap", last);
        let mut ebpf = object("fexit");
        let error = fexit(&mut ebpf).load("traced", &btf).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
