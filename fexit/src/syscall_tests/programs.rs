//! Loading and running programs.

use std::cell::RefCell;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{BPF_BTF_LOAD, BPF_PROG_LOAD, BPF_PROG_TEST_RUN};

use super::{
    FEXIT, FEXIT_MULTI, FSESSION, FSESSION_MULTI, TARGETS, TRACING, fexit, kernel, last_load,
    number, object, target_of,
};
use crate::programs::{OtherProgram, ProgramError, Target};
use crate::sys::attr::{BtfLoadAttr, ProgLoadAttr, TestRunAttr};
use crate::sys::fake::{self, Kernel};
use crate::testing;
use crate::{Btf, EbpfLoader, VerifierLogLevel};

const SLEEPABLE: u32 = 16;

#[test]
fn load_passes_type_attach_type_flags_and_target() {
    let (kernel, btf) = kernel(|_| None);
    let id = |name| btf.function_id(name).unwrap();
    for (section, attach_type, flags) in [
        ("fexit", FEXIT, 0),
        ("fexit.s", FEXIT, SLEEPABLE),
        ("fsession", FSESSION, 0),
        ("fsession.s", FSESSION, SLEEPABLE),
    ] {
        for function in ["traced", "other"] {
            let mut ebpf = object(&format!("{section}/{function}"));
            fexit(&mut ebpf)
                .load_target(&Target::Section, &btf)
                .unwrap();
            let expected = [TRACING, attach_type, flags, id(function), 0];
            assert_eq!(
                target_of(&last_load(&kernel)),
                expected,
                "{section}/{function}"
            );
        }
    }
    for (section, attach_type) in [
        ("fexit.multi", FEXIT_MULTI),
        ("fsession.multi", FSESSION_MULTI),
    ] {
        let mut ebpf = object(&format!("{section}/traced"));
        fexit(&mut ebpf)
            .load_target(&Target::Section, &btf)
            .unwrap();
        assert_eq!(
            target_of(&last_load(&kernel)),
            [TRACING, attach_type, 0, 0, 0]
        );
    }
}

#[test]
fn load_passes_instructions_licence_name_and_debugging_information() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let texts = Rc::clone(&seen);
    let (kernel, btf) = kernel(move |call| {
        if call.cmd == BPF_PROG_LOAD {
            let load: &mut ProgLoadAttr = call.attr();
            let insns = fake::memory(load.insns, u64::from(load.insn_cnt) * 8);
            let functions = fake::memory(load.func_info, 8);
            let line = fake::memory(load.line_info, 16);
            texts
                .borrow_mut()
                .push((fake::text(load.license), insns, functions, line));
        }
        None
    });
    let mut ebpf = object("fexit/traced");
    fexit(&mut ebpf)
        .load_target(&Target::Section, &btf)
        .unwrap();
    let load = last_load(&kernel);
    let (license, insns, functions, line) = seen.take().remove(0);
    assert_eq!(license, "GPL");
    // `r0 = 0; exit`.
    assert_eq!(
        insns,
        [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(load.prog_name, *b"p\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!((load.func_info_cnt, load.func_info_rec_size), (1, 8));
    assert_eq!(load.line_info_rec_size, 16);
    assert!(load.line_info_cnt > 0);
    // Both begin with the offset of their instruction; then come a type, or a file, a line and its number and column.
    let words = |bytes: &[u8]| -> Vec<u32> {
        let words = bytes.as_chunks().0.iter();
        words.map(|&word| u32::from_ne_bytes(word)).collect()
    };
    let (function, line) = (words(&functions), words(&line));
    assert!(function[0] == 0 && function[1] > 0, "{function:?}");
    assert!(line[0] == 0 && line[3] >> 10 > 0, "{line:?}");
    assert_ne!(load.prog_btf_fd, 0);
    let unused = (
        load.kern_version,
        load.prog_ifindex,
        load.core_relo_cnt,
        load.fd_array,
    );
    assert_eq!(unused, (0, 0, 0, 0));
}

#[test]
fn object_btf_is_loaded_once() {
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&sizes);
    let (kernel, btf) = kernel(move |call| {
        if call.cmd == BPF_BTF_LOAD {
            let load: &mut BtfLoadAttr = call.attr();
            let bytes = fake::memory(load.btf, load.btf_size.into());
            let log = (load.btf_log_buf, load.btf_log_size, load.btf_log_level);
            seen.borrow_mut()
                .push((Btf::parse(&bytes, crate::Endianness::default()), log));
        }
        None
    });
    let mut ebpf = object("fexit/traced");
    for _ in 0..2 {
        fexit(&mut ebpf)
            .load_target(&Target::Section, &btf)
            .unwrap();
        fexit(&mut ebpf).unload().unwrap();
    }
    assert_eq!(
        (kernel.count(BPF_BTF_LOAD), kernel.count(BPF_PROG_LOAD)),
        (1, 2)
    );
    let (types, log) = sizes.take().remove(0);
    assert!(types.unwrap().has_struct("s"));
    assert_eq!(log, (0, 0, 0));
}

/// The kernel prints `unknown` for the name of a helper that it does not have.
#[test]
fn helper_that_the_kernel_lacks_is_named_with_its_first_release() {
    let source = "static long (*task)(void) = (void *)158;
        SEC(\"kprobe/f\") int p(void *ctx) { return task(); }";
    for (log, expected) in [
        (
            "0: (85) call unknown#158\ninvalid func unknown#158\n\0",
            "uses bpf_get_current_task_btf (from Linux 5.11 on)",
        ),
        (
            "0: (85) call bpf_get_current_task_btf#158\nunknown func bpf_get_current_task_btf#158\n\0",
            "the kernel refused to load program `p`",
        ),
    ] {
        let (_kernel, _) = kernel(move |call| {
            if call.cmd != BPF_PROG_LOAD {
                return None;
            }
            let load = *call.attr::<ProgLoadAttr>();
            if load.log_level > 0 {
                fake::write(load.log_buf, log.as_bytes());
            }
            Some(libc::EINVAL)
        });
        let mut ebpf = super::object_of(source);
        let program: &mut OtherProgram = ebpf.program_mut("p").unwrap().try_into().unwrap();
        let error = program.load().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn log_is_requested_after_a_refusal_or_by_the_callers_log_level() {
    let (kernel, btf) = kernel(|call| {
        let cmd = call.cmd;
        if cmd != BPF_PROG_LOAD {
            return None;
        }
        let load: &mut ProgLoadAttr = call.attr();
        if load.log_size > 0 {
            fake::write(load.log_buf, b"the verifier's log\0");
        }
        (load.log_level < 2).then_some(libc::EACCES)
    });
    let mut ebpf = object("fexit/traced");
    let error = fexit(&mut ebpf)
        .load_target(&Target::Section, &btf)
        .unwrap_err();
    let ProgramError::LoadError { verifier_log, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(verifier_log, "the verifier's log");
    let logs = |kernel: &Kernel| -> Vec<_> {
        let loads = kernel.attrs::<ProgLoadAttr>().into_iter();
        loads.map(|load| (load.log_level, load.log_size)).collect()
    };
    assert_eq!(logs(&kernel), [(0, 0), (1, 64 << 10)]);

    let source = format!("{TARGETS} SEC(\"fexit/traced\") int p(u64 *ctx) {{ return 0; }}");
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::VERBOSE)
        .load(&testing::compile(&source))
        .unwrap();
    fexit(&mut ebpf)
        .load_target(&Target::Section, &btf)
        .unwrap();
    assert_eq!(logs(&kernel)[2..], [(3, 64 << 10)]);
    assert_eq!(fexit(&mut ebpf).verifier_log(), "the verifier's log");
}

#[test]
fn locked_memory_is_raised_as_far_as_it_may_be_when_the_kernel_says_eperm() {
    for (most, raised) in [
        (libc::RLIM_INFINITY, true),
        (1 << 20, true),
        (1 << 16, false),
    ] {
        let (kernel, btf) =
            kernel(|call| (call.cmd == BPF_PROG_LOAD && call.before == 0).then_some(libc::EPERM));
        kernel.memlock.set((1 << 16, most));
        let mut ebpf = object("fexit/traced");
        let loaded = fexit(&mut ebpf).load_target(&Target::Section, &btf);
        assert_eq!(loaded.is_ok(), raised);
        assert_eq!(kernel.memlock.get(), (most, most));
        assert_eq!(kernel.count(BPF_PROG_LOAD), 1 + usize::from(raised));
    }
}

#[test]
fn programs_of_other_types_are_loaded_without_target_or_attach_type() {
    let (kernel, _) = kernel(|_| None);
    for (section, prog_type) in [
        ("xdp", 6),
        ("tc", 3),
        ("classifier", 3),
        ("socket", 1),
        ("cgroup_skb", 8),
        ("kprobe/f", 2),
        ("kretprobe/f", 2),
        ("tracepoint/a/b", 5),
        ("raw_tracepoint/f", 17),
        ("perf_event", 7),
    ] {
        let mut ebpf = object(section);
        let program: &mut OtherProgram = ebpf.program_mut("p").unwrap().try_into().unwrap();
        program
            .load()
            .unwrap_or_else(|error| panic!("{section}: {error}"));
        assert_eq!(
            target_of(&last_load(&kernel)),
            [prog_type, 0, 0, 0, 0],
            "{section}"
        );
    }
}

#[test]
fn test_run_passes_data_and_returns_the_duration() {
    let inputs = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&inputs);
    let (kernel, btf) = kernel(move |call| {
        if call.cmd == BPF_PROG_TEST_RUN {
            let run: &mut TestRunAttr = call.attr();
            seen.borrow_mut()
                .push(fake::memory(run.data_in, run.data_size_in.into()));
            (run.retval, run.duration) = (42, 99);
        }
        None
    });
    let mut ebpf = object("xdp");
    let program: &mut OtherProgram = ebpf.program_mut("p").unwrap().try_into().unwrap();
    program.load().unwrap();
    let program = ebpf.program("p").unwrap();
    let run = program.test_run(b"a packet of data").unwrap();
    assert_eq!((run.return_value, run.duration_ns), (42, 99));
    let attr: TestRunAttr = *kernel.attrs().last().unwrap();
    assert_eq!(
        (attr.prog_fd, attr.repeat),
        (number(program.fd().unwrap()), 1)
    );
    assert!(attr.data_size_out >= attr.data_size_in && attr.data_out != 0);
    assert_eq!(
        (
            attr.ctx_in,
            attr.ctx_out,
            attr.ctx_size_in,
            attr.ctx_size_out
        ),
        (0, 0, 0, 0)
    );

    let mut ebpf = object("fexit/traced");
    let program = fexit(&mut ebpf);
    program.load_target(&Target::Section, &btf).unwrap();
    assert_eq!(program.test_run().unwrap().return_value, 42);
    let attr: TestRunAttr = *kernel.attrs().last().unwrap();
    assert_eq!((attr.data_in, attr.data_out, attr.data_size_out), (0, 0, 0));
    assert_eq!(inputs.take(), [b"a packet of data".to_vec(), vec![]]);
}

#[test]
fn kernel_without_targets_refuses_the_size_of_the_attribute() {
    for (errno, knows) in [
        (libc::E2BIG, false),
        (libc::EINVAL, true),
        (libc::EPERM, true),
    ] {
        let kernel = fake::kernel(|_| None);
        kernel.probe.set(errno);
        assert_eq!(crate::sys::knows_targets(), knows, "{errno}");
    }
}
