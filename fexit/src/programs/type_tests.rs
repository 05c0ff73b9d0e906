//! The program types on a fake kernel.

use aya_obj::generated::bpf_cmd::{self, BPF_LINK_CREATE, BPF_PROG_LOAD, BPF_RAW_TRACEPOINT_OPEN};

use super::fexit_tests::{Calls, count, kernel};
use crate::programs::{
    BtfTracePoint, FEntry, FExit, FModRet, Lsm, OtherProgram, Program, ProgramError, Target,
};
use crate::sys::attr::{LinkCreateAttr, ProgLoadAttr};
use crate::sys::fake;
use crate::testing::compile;
use crate::{Btf, BtfError, Ebpf, Feature};

const SOURCE: &str = "
    SEC(\"fentry/traced\") int entry(u64 *ctx) { return 0; }
    SEC(\"fentry.s/traced\") int sleeps(u64 *ctx) { return 0; }
    SEC(\"fentry.multi/tra*\") int many(u64 *ctx) { return 0; }
    SEC(\"fexit/traced\") int exits(u64 *ctx) { return 0; }
    SEC(\"fmod_ret/traced\") int replaces(u64 *ctx) { return 0; }
    SEC(\"lsm/file_open\") int decides(u64 *ctx) { return 0; }
    SEC(\"tp_btf/sched_switch\") int point(u64 *ctx) { return 0; }
    SEC(\"xdp\") int packet(void *ctx) { return 2; }
    int traced(int a, int b) { return a * b; }";

/// Functions and tracepoints that every kernel has.
const TYPES: &str = "
    typedef void (*btf_trace_sched_switch)(void *, int); btf_trace_sched_switch a;
    typedef void (*btf_trace_sched_wakeup)(void *, int); btf_trace_sched_wakeup b;
    int traced(int a, int b) { return a * b; }";

/// A hook, which kernels without BPF LSM do not have.
const HOOKS: &str = "int bpf_lsm_file_open(void *file) { return 0; }";

/// A kernel without these features, on which calls fail as `refuse` says; and its types, with `more`.
fn faked(
    lacking: &[Feature],
    more: &str,
    refuse: impl Fn(bpf_cmd) -> Option<i32> + 'static,
) -> (Calls, Btf) {
    let kernel = kernel(move |cmd, _| refuse(cmd));
    kernel.lacks(lacking, &format!("{TYPES}{more}"));
    (kernel, Btf::from_sys_fs().unwrap())
}

fn load(program: &mut Program, target: &Target<'_>, btf: &Btf) -> Result<(), ProgramError> {
    match program {
        Program::FEntry(program) => program.load_target(target, btf),
        Program::FExit(program) => program.load_target(target, btf),
        Program::FModRet(program) => program.load_target(target, btf),
        Program::Lsm(program) => program.load_target(target, btf),
        Program::BtfTracePoint(program) => program.load_target(target, btf),
        Program::Other(program) => program.load(),
    }
}

#[test]
fn program_converts_only_to_its_own_type() {
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    for (name, kind) in [
        ("entry", "fentry"),
        ("sleeps", "fentry"),
        ("many", "fentry"),
        ("exits", "fexit"),
        ("replaces", "fmod_ret"),
        ("decides", "lsm"),
        ("point", "tp_btf"),
        ("packet", "xdp"),
    ] {
        let program = ebpf.program_mut(name).unwrap();
        let conversions = [
            ("fentry", <&mut FEntry>::try_from(&mut *program).map(|_| ())),
            ("fexit", <&mut FExit>::try_from(&mut *program).map(|_| ())),
            (
                "fmod_ret",
                <&mut FModRet>::try_from(&mut *program).map(|_| ()),
            ),
            ("lsm", <&mut Lsm>::try_from(&mut *program).map(|_| ())),
            (
                "tp_btf",
                <&mut BtfTracePoint>::try_from(&mut *program).map(|_| ()),
            ),
            (
                "xdp",
                <&mut OtherProgram>::try_from(&mut *program).map(|_| ()),
            ),
        ];
        for (of, conversion) in conversions {
            let Err(error) = conversion else {
                assert_eq!(of, kind, "{name}");
                continue;
            };
            assert_ne!(of, kind, "{error}");
            let text = error.to_string();
            assert!(text.contains(name), "{text}");
            assert!(of == "xdp" || text.contains(&format!("`{of}`")), "{text}");
        }
    }
}

#[test]
fn each_type_is_loaded_attached_taken_and_unloaded() {
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    for name in ["entry", "sleeps", "exits", "replaces", "decides", "point"] {
        let (calls, btf) = faked(&[], HOOKS, |_| None);
        let program = ebpf.program_mut(name).unwrap();
        load(program, &Target::Section, &btf).unwrap();
        assert_eq!(count(&calls, BPF_PROG_LOAD), 1, "{name}");
        macro_rules! attach {
            ($($variant:ident),+) => {
                match program {
                    $(Program::$variant(program) => {
                        let id = program.attach().unwrap();
                        let again = program.attach();
                        assert!(matches!(again, Err(ProgramError::AlreadyAttached)), "{name}");
                        let link = program.take_link(id).unwrap();
                        assert!(matches!(program.detach(link.id()), Err(ProgramError::NotAttached)));
                        drop(link);
                        let id = program.attach().unwrap();
                        program.detach(id).unwrap();
                        program.unload().unwrap();
                        assert!(matches!(program.attach(), Err(ProgramError::NotLoaded)));
                    })+
                    Program::Other(_) => panic!("{name}"),
                }
            };
        }
        attach!(FEntry, FExit, FModRet, Lsm, BtfTracePoint);
        assert_eq!(count(&calls, BPF_LINK_CREATE), 2, "{name}");
    }
}

#[test]
fn older_call_attaches_where_link_create_fails() {
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let (calls, btf) = faked(&[], "", |cmd| {
        (cmd == BPF_LINK_CREATE).then_some(libc::EINVAL)
    });
    let program: &mut BtfTracePoint = ebpf.program_mut("point").unwrap().try_into().unwrap();
    program.load("sched_switch", &btf).unwrap();
    program.attach().unwrap();
    assert_eq!(count(&calls, BPF_RAW_TRACEPOINT_OPEN), 1);
}

#[test]
fn cookie_that_the_kernel_ignores_is_refused() {
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let (calls, btf) = faked(&[Feature::BtfTracePointCookie], "", |_| None);
    let program: &mut BtfTracePoint = ebpf.program_mut("point").unwrap().try_into().unwrap();
    program.load("sched_switch", &btf).unwrap();
    let error = program.attach_with_cookie(7).unwrap_err();
    let feature = error.unsupported().map(|refusal| refusal.feature);
    assert_eq!(feature, Some(Feature::BtfTracePointCookie), "{error}");
    assert_eq!(count(&calls, BPF_LINK_CREATE), 0);
    program.attach().unwrap();
}

#[test]
fn missing_program_type_is_reported_with_its_first_release() {
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let all = [
        ("entry", Feature::FEntry),
        ("replaces", Feature::FModRet),
        ("decides", Feature::Lsm),
        ("point", Feature::BtfTracePoint),
    ];
    let mut lacking = all.map(|(_, feature)| feature).to_vec();
    lacking.push(Feature::Fexit);
    let (calls, old) = faked(&lacking, HOOKS, |_| None);
    for (name, feature) in all {
        let program = ebpf.program_mut(name).unwrap();
        let error = load(program, &Target::Section, &old).unwrap_err();
        let refused = error.unsupported().map(|refusal| refusal.feature);
        assert_eq!(refused, Some(feature), "{error}");
    }
    assert_eq!(calls.commands(), []);
}

#[test]
fn hooks_and_tracepoints_are_looked_up_by_their_btf_types() {
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let mut error = |name: &str, target: &Target<'_>, more: &str| {
        let (_kernel, btf) = faked(&[], more, |_| None);
        load(ebpf.program_mut(name).unwrap(), target, &btf).unwrap_err()
    };
    let bare = error("decides", &Target::Section, "");
    assert!(bare.to_string().contains("CONFIG_BPF_LSM"), "{bare}");
    let unknown = error("decides", &Target::Function("file_opens"), HOOKS);
    let ProgramError::Btf(BtfError::UnknownBtfTypeName { suggestions, .. }) = unknown else {
        panic!("{unknown}");
    };
    assert_eq!(suggestions, ["bpf_lsm_file_open"]);
    let unknown = error("point", &Target::Function("sched_swich"), "");
    let text = unknown.to_string();
    for part in ["no tracepoint", "similar names are sched_switch"] {
        assert!(text.contains(part), "{text}");
    }
    let call = error("point", &Target::Function("sys_enter_openat"), "");
    assert!(call.to_string().contains("`sys_enter`"), "{call}");
}

#[test]
fn program_that_cannot_be_loaded_by_itself_is_refused_with_the_reason() {
    let source = "
        SEC(\"freplace/main\") int replaces(void *ctx) { return 0; }
        SEC(\"something/else\") int unknown(void *ctx) { return 0; }";
    let calls = kernel(|_, _| None);
    let mut ebpf = Ebpf::load(&compile(source)).unwrap();
    for (name, section, reason) in [
        ("replaces", "freplace/main", "another program"),
        ("unknown", "something/else", "no known program type"),
    ] {
        let Program::Other(program) = ebpf.program_mut(name).unwrap() else {
            panic!("{name}");
        };
        let error = program.load().unwrap_err();
        assert!(matches!(error, ProgramError::NotLoadable { .. }), "{error}");
        let text = error.to_string();
        for part in [name, section, reason] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert_eq!(calls.commands(), []);
}

#[test]
fn target_of_the_wrong_kind_is_refused_without_a_system_call() {
    let (calls, btf) = faked(&[], HOOKS, |_| None);
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let mut error = |name: &str, target: &Target<'_>| {
        load(ebpf.program_mut(name).unwrap(), target, &btf).unwrap_err()
    };
    let file = std::fs::File::open("/dev/null").unwrap();
    let fd = std::os::fd::AsFd::as_fd(&file);
    for name in ["decides", "point"] {
        let program = error(name, &Target::Program { fd, function: None });
        assert!(
            program.to_string().contains("do not run on other programs"),
            "{program}"
        );
    }
    for name in ["replaces", "decides", "point"] {
        let many = error(name, &Target::Functions(&["traced"]));
        assert!(
            many.to_string().contains("one link for many functions"),
            "{many}"
        );
    }
    assert_eq!(calls.commands(), []);
    let program = ebpf.program_mut("many").unwrap();
    load(program, &Target::Section, &btf).unwrap();
}

/// Program type, attach type, flags and target of the last load.
fn last_load(kernel: &Calls) -> [u32; 4] {
    let load: ProgLoadAttr = *kernel.attrs().last().unwrap();
    assert_eq!(load.attach_fd, 0);
    [
        load.prog_type,
        load.expected_attach_type,
        load.prog_flags,
        load.attach_btf_id,
    ]
}

#[test]
fn load_and_attach_pass_their_type_and_target() {
    // The numbers of include/uapi/linux/bpf.h.
    const TRACING: u32 = 26;
    const LSM: u32 = 29;
    const SLEEPABLE: u32 = 16;
    let (kernel, btf) = faked(&[], HOOKS, |_| None);
    let traced = btf.function_id("traced").unwrap();
    let hook = btf.function_id("bpf_lsm_file_open").unwrap();
    let point = btf.tracepoint("sched_switch").unwrap().btf_id;
    for (section, expected) in [
        ("fentry/traced", [TRACING, 24, 0, traced]),
        ("fentry.s/traced", [TRACING, 24, SLEEPABLE, traced]),
        ("fentry.multi/tra*", [TRACING, 59, 0, 0]),
        ("fmod_ret/traced", [TRACING, 26, 0, traced]),
        ("fmod_ret.s/traced", [TRACING, 26, SLEEPABLE, traced]),
        ("lsm/file_open", [LSM, 27, 0, hook]),
        ("lsm.s/file_open", [LSM, 27, SLEEPABLE, hook]),
        ("tp_btf/sched_switch", [TRACING, 23, 0, point]),
    ] {
        let source = format!("SEC(\"{section}\") int p(u64 *ctx) {{ return 0; }}");
        let mut ebpf = Ebpf::load(&compile(&source)).unwrap();
        let program = ebpf.program_mut("p").unwrap();
        load(program, &Target::Section, &btf).unwrap();
        assert_eq!(last_load(&kernel), expected, "{section}");
        let attached = match program {
            Program::FEntry(program) => program.attach_with_cookie(7),
            Program::FModRet(program) => program.attach_with_cookie(7),
            Program::Lsm(program) => program.attach_with_cookie(7),
            Program::BtfTracePoint(program) => program.attach_with_cookie(7),
            other => panic!("{}", other.kind()),
        };
        attached.unwrap();
        if section != "fentry.multi/tra*" {
            let link: LinkCreateAttr = *kernel.attrs().last().unwrap();
            assert_eq!(
                (link.attach_type, link.cookie),
                (expected[1], 7),
                "{section}"
            );
        }
    }
}

#[test]
fn kernel_that_does_not_know_a_flag_is_found_by_a_program_that_returns_0() {
    const SLEEPABLE: u32 = 16;
    for knows_the_flag in [false, true] {
        let kernel = fake::kernel(move |call| {
            if call.cmd != BPF_PROG_LOAD {
                return None;
            }
            let load: &mut ProgLoadAttr = call.attr();
            let is_probe = load.prog_name == [0; 16];
            let is_known = knows_the_flag || load.prog_flags & SLEEPABLE == 0;
            (!is_probe || !is_known).then_some(libc::EINVAL)
        });
        kernel.lacks(&[], TYPES);
        // Neither answer follows from the release: the type is as old as 6.0.
        *kernel.release.borrow_mut() = if knows_the_flag { "5.14.0" } else { "6.12.0" }.to_owned();
        let source = "SEC(\"uprobe.s\") int p(void *ctx) { return 1; }";
        let mut ebpf = Ebpf::load(&compile(source)).unwrap();
        let btf = Btf::from_sys_fs().unwrap();
        let error = load(ebpf.program_mut("p").unwrap(), &Target::Section, &btf).unwrap_err();
        let is_too_new = matches!(error, ProgramError::TooNew { .. });
        assert_eq!(is_too_new, !knows_the_flag, "{error}");
    }
}

#[test]
fn other_program_is_loaded_as_the_type_of_its_section() {
    const FRAGMENTS: u32 = 32;
    const SLEEPABLE: u32 = 16;
    let iterator = "int bpf_iter_task(void *a) { return 0; }
        enum bpf_prog_type { BPF_PROG_TYPE_XDP = 6, BPF_PROG_TYPE_TRACING = 26, BPF_PROG_TYPE_SYSCALL = 31 };
        enum bpf_prog_type c;
        enum bpf_attach_type { BPF_TRACE_ITER = 28, BPF_XDP_DEVMAP = 33 }; enum bpf_attach_type d;";
    let (kernel, btf) = faked(&[], iterator, |_| None);
    let iterator = btf.function_id("bpf_iter_task").unwrap();
    let load_section = |section: &str| {
        let source = format!("SEC(\"{section}\") int p(void *ctx) {{ return 1; }}");
        let mut ebpf = Ebpf::load(&compile(&source)).unwrap();
        load(ebpf.program_mut("p").unwrap(), &Target::Section, &btf)
    };
    for (section, expected) in [
        ("xdp", [6, 0, 0, 0]),
        ("xdp.frags/devmap", [6, 33, FRAGMENTS, 0]),
        ("cgroup/connect6", [18, 11, 0, 0]),
        ("iter.s/task", [26, 28, SLEEPABLE, iterator]),
        ("syscall", [31, 0, SLEEPABLE, 0]),
    ] {
        load_section(section).unwrap();
        assert_eq!(last_load(&kernel), expected, "{section}");
    }
    let loads = count(&kernel, BPF_PROG_LOAD);
    let error = load_section("netfilter").unwrap_err();
    assert!(matches!(error, ProgramError::TooNew { .. }), "{error}");
    assert!(error.to_string().contains("from Linux 6.4 on"), "{error}");
    let error = load_section("iter").unwrap_err();
    assert!(matches!(error, ProgramError::NoTarget { .. }), "{error}");
    assert_eq!(count(&kernel, BPF_PROG_LOAD), loads);
}

#[test]
fn attach_to_a_hook_is_refused_if_bpf_is_no_security_module() {
    for (modules, runs) in [("lockdown,capability,bpf", true), ("lockdown,bpfx", false)] {
        let (kernel, btf) = faked(&[], HOOKS, |_| None);
        kernel.file("/sys/kernel/security/lsm", modules);
        let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
        let program: &mut Lsm = ebpf.program_mut("decides").unwrap().try_into().unwrap();
        program.load("file_open", &btf).unwrap();
        let attached = program.attach();
        assert_eq!(attached.is_ok(), runs, "{modules}");
        if let Err(error) = attached {
            assert!(
                error.to_string().contains("`lsm=lockdown,bpfx,bpf`"),
                "{error}"
            );
            assert_eq!(count(&kernel, BPF_LINK_CREATE), 0);
        }
    }
}
