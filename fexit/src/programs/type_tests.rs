//! What tells the types of programs from one another, with answers made up for the kernel.

use aya_obj::generated::bpf_cmd::{BPF_LINK_CREATE, BPF_PROG_LOAD, BPF_RAW_TRACEPOINT_OPEN};

use super::fexit_tests::{count, kernel};
use crate::programs::{
    BtfTracePoint, FEntry, FExit, FModRet, Lsm, OtherProgram, Program, ProgramError, Target,
};
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

/// Functions, hooks and tracepoints as a kernel has them; `more` are those that not every kernel has.
fn types(more: &str) -> Btf {
    let source = format!(
        "typedef void (*btf_trace_sched_switch)(void *, int); btf_trace_sched_switch a;
         typedef void (*btf_trace_sched_wakeup)(void *, int); btf_trace_sched_wakeup b;
         enum e {{ BPF_LSM_MAC = 27, BPF_MODIFY_RETURN = 26, BPF_TRACE_FENTRY_MULTI = 59,
             BPF_TRACE_FEXIT_MULTI = 60 }}; enum e c;
         int traced(int a, int b) {{ return a * b; }} {more}"
    );
    let btf = crate::elf::examine(&compile(&source)).unwrap().1.btf;
    Btf::parse(&btf, crate::Endianness::default()).unwrap()
}

const HOOKS: &str = "int bpf_lsm_file_open(void *file) { return 0; }";

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
fn a_program_converts_to_its_own_type_alone() {
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
    let btf = types(HOOKS);
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    for name in ["entry", "sleeps", "exits", "replaces", "decides", "point"] {
        let calls = kernel(|_, _| None);
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
fn the_older_call_attaches_where_the_newer_does_not() {
    let btf = types(HOOKS);
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let calls = kernel(|cmd, _| (cmd == BPF_LINK_CREATE).then_some(libc::EINVAL));
    let program: &mut BtfTracePoint = ebpf.program_mut("point").unwrap().try_into().unwrap();
    program.load("sched_switch", &btf).unwrap();
    program.attach().unwrap();
    assert_eq!(count(&calls, BPF_RAW_TRACEPOINT_OPEN), 1);
}

#[test]
fn a_cookie_that_a_kernel_would_forget_is_refused() {
    let btf = types(HOOKS);
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let calls = kernel(|_, _| None);
    fake::lacking(&[Feature::BtfTracePointCookie]);
    let program: &mut BtfTracePoint = ebpf.program_mut("point").unwrap().try_into().unwrap();
    program.load("sched_switch", &btf).unwrap();
    let error = program.attach_with_cookie(7).unwrap_err();
    let feature = error.unsupported().map(|refusal| refusal.feature);
    assert_eq!(feature, Some(Feature::BtfTracePointCookie), "{error}");
    assert_eq!(count(&calls, BPF_LINK_CREATE), 0);
    program.attach().unwrap();
    fake::lacking(&[]);
}

#[test]
fn a_kernel_without_a_type_is_told_of_by_its_first_release() {
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let calls = kernel(|_, _| None);
    let source = "int traced(int a) { return a; }";
    let old = crate::elf::examine(&compile(source)).unwrap().1.btf;
    let old = Btf::parse(&old, crate::Endianness::default()).unwrap();
    let all = [
        ("entry", Feature::FEntry),
        ("replaces", Feature::FModRet),
        ("decides", Feature::Lsm),
        ("point", Feature::BtfTracePoint),
    ];
    fake::lacking(&all.map(|(_, feature)| feature));
    for (name, feature) in all {
        let program = ebpf.program_mut(name).unwrap();
        let error = load(program, &Target::Section, &old).unwrap_err();
        let refused = error.unsupported().map(|refusal| refusal.feature);
        assert_eq!(refused, Some(feature), "{error}");
    }
    assert_eq!(*calls.borrow(), []);
    fake::lacking(&[]);
}

#[test]
fn a_hook_and_a_tracepoint_are_looked_up_as_such() {
    kernel(|_, _| None);
    let mut ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
    let mut error = |name: &str, target: &Target<'_>, btf: &Btf| {
        load(ebpf.program_mut(name).unwrap(), target, btf).unwrap_err()
    };
    let bare = error("decides", &Target::Section, &types(""));
    assert!(bare.to_string().contains("CONFIG_BPF_LSM"), "{bare}");
    let unknown = error("decides", &Target::Function("file_opens"), &types(HOOKS));
    let ProgramError::Btf(BtfError::UnknownBtfTypeName { nearest, .. }) = unknown else {
        panic!("{unknown}");
    };
    assert_eq!(nearest, ["bpf_lsm_file_open"]);
    let unknown = error("point", &Target::Function("sched_swich"), &types(""));
    let text = unknown.to_string();
    for part in ["no tracepoint", "nearest names are sched_switch"] {
        assert!(text.contains(part), "{text}");
    }
    let call = error("point", &Target::Function("sys_enter_openat"), &types(""));
    assert!(call.to_string().contains("`sys_enter`"), "{call}");
}

#[test]
fn a_target_of_another_sort_is_refused_before_the_kernel_is_asked() {
    let calls = kernel(|_, _| None);
    let btf = types(HOOKS);
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
    assert_eq!(*calls.borrow(), []);
    let program = ebpf.program_mut("many").unwrap();
    load(program, &Target::Section, &btf).unwrap();
}
