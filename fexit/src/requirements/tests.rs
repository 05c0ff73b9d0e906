//! Real objects, and what they require.

use crate::Ebpf;
use crate::arch::Arch;
use crate::kernel_version::KernelVersion;
use crate::object::{Globals, Object};
use crate::requirements::Requirements;
use crate::testing::compile;

fn requirements(source: &str, program: &str) -> Requirements {
    let object = Ebpf::load(&compile(source)).unwrap();
    object
        .requirements(Arch::X86_64)
        .unwrap()
        .remove(program)
        .unwrap()
}

fn reasons(required: &Requirements) -> Vec<String> {
    let line = |r: &crate::Requirement| {
        let minimum = r.minimum.map_or("never".to_owned(), |m| m.to_string());
        format!("{minimum} {}", r.what)
    };
    required.requirements.iter().map(line).collect()
}

const TYPES: &str = "
    #define CORE __attribute__((preserve_access_index))
    struct inner { int x; int y[3]; } CORE;
    struct task { int pid; union { struct inner in; long other; }; struct task *next; int gone; } CORE;
    enum color { RED = 1, GREEN = 2 };";

#[test]
fn each_reason_has_its_release_and_the_newest_comes_first() {
    let required = requirements(
        "struct { int (*type)[27]; int (*max_entries)[4096]; } ring SEC(\".maps\");
         SEC(\"fexit.s/vfs_read\") int p(u64 *ctx) {
             ((long (*)(void *, void *, u64, u64))130)(&ring, ctx, 8, 0);
             return ((long (*)(void *))174)(ctx);
         }",
        "p",
    );
    assert_eq!(required.helpers, [130, 174]);
    assert_eq!(required.maps, ["ring"]);
    assert!(required.is_sleepable);
    assert_eq!(required.minimum(), Some(KernelVersion::new(5, 19, 0)));
    assert_eq!(
        reasons(&required),
        [
            "5.19 it calls bpf_get_attach_cookie",
            "5.10 it may sleep (section `fexit.s/vfs_read`)",
            "5.8 it calls bpf_ringbuf_output",
            "5.8 its map ring is of type ringbuf",
            "5.5 it is an fexit program",
        ]
    );
}

#[test]
fn a_section_asks_for_what_its_kind_and_its_target_need() {
    let section = |section: &str| {
        let required = requirements(
            &format!("SEC(\"{section}\") int p(u64 *ctx) {{ return 0; }}"),
            "p",
        );
        (
            required.minimum().unwrap().to_string(),
            reasons(&required).remove(0),
        )
    };
    let expect = |minimum: &str, what: &str| (minimum.to_owned(), format!("{minimum} {what}"));
    for (name, minimum, what) in [
        ("fexit/vfs_read", "5.5", "it is an fexit program"),
        ("fexit/vmlinux:vfs_read", "5.5", "it is an fexit program"),
        (
            "fexit/tun:tun_get_user",
            "5.11",
            "its target is a function of a module",
        ),
        ("fsession/vfs_read", "7.0", "it is an fsession program"),
        ("fexit.multi/vfs_*", "7.2", "it is an fexit.multi program"),
        (
            "fsession.multi/vfs_*",
            "7.2",
            "it is an fsession.multi program",
        ),
    ] {
        assert_eq!(section(name), expect(minimum, what), "{name}");
    }
}

#[test]
fn kfuncs_have_the_release_in_which_fexit_programs_may_call_them() {
    let minimum = |kfunc: &str| {
        let required = requirements(
            &format!(
                "extern void {kfunc}(void) SEC(\".ksyms\");
                 SEC(\"fexit/vfs_read\") int p(u64 *ctx) {{ {kfunc}(); return 0; }}"
            ),
            "p",
        );
        required.minimum().map(|minimum| minimum.to_string())
    };
    assert_eq!(minimum("bpf_dynptr_is_rdonly").as_deref(), Some("6.5"));
    assert_eq!(minimum("css_rstat_flush").as_deref(), Some("6.16"));
    assert_eq!(minimum("bpf_stream_vprintk").as_deref(), Some("6.17"));
    assert_eq!(minimum("bpf_put_file"), None);
}

#[test]
fn what_no_kernel_grants_comes_before_everything() {
    // skb_store_bytes is for network programs; 9999 is nothing.
    let required = requirements(
        "SEC(\"fexit/vfs_read\") int p(u64 *ctx) {
             return ((long (*)(void *))9)(ctx) + ((long (*)(void *))9999)(ctx);
         }",
        "p",
    );
    assert_eq!(required.minimum(), None);
    assert_eq!(
        reasons(&required)[..2],
        [
            "never it calls bpf_skb_store_bytes, which fexit programs may not",
            "never it calls helper number 9999, which no kernel has",
        ]
    );
}

#[test]
fn types_are_named_down_to_the_field_and_stay_with_their_program() {
    let source = format!(
        "{TYPES}
         __attribute__((noinline)) static u64 shared(struct task *t) {{
             return (u64)__builtin_preserve_access_index(&t->in.y[2]) - (u64)t;
         }}
         SEC(\"fexit/f\") int one(u64 *ctx) {{
             struct task *t = (void *)ctx[0];
             return shared(t) + __builtin_preserve_field_info(t->gone, 2);
         }}
         SEC(\"fexit/g\") int two(u64 *ctx) {{
             return __builtin_preserve_enum_value(*(typeof(enum color) *)GREEN, 1);
         }}
         SEC(\"fexit/h\") int three(u64 *ctx) {{ return 0; }}"
    );
    let object = Ebpf::load(&compile(&source)).unwrap();
    let required = object.requirements(Arch::X86_64).unwrap();
    let core = |program: &str| -> Vec<String> {
        let core = required[program].core.iter();
        core.map(|need| format!("{need} {} {}", need.what, need.optional))
            .collect()
    };
    assert_eq!(
        core("one"),
        [
            "struct task.gone exists true",
            "struct task.in.y[2] offset false"
        ]
    );
    assert_eq!(core("two"), ["enum color.GREEN value false"]);
    assert_eq!(core("three"), [""; 0]);
}

#[test]
fn instructions_that_are_newer_than_fexit_are_seen() {
    let source = "SEC(\"fexit/f\") int p(u64 *ctx) {
        u64 old = 0;
        asm volatile(\".8byte 0x1000001aa0db\" ::: \"memory\");  // an exchange
        asm volatile(\".8byte 0x1000000000106\");                // a long jump
        return old;
    }";
    let required = requirements(source, "p");
    let reasons = reasons(&required);
    assert!(
        reasons.contains(&"6.6 it has a jump of 32 bits".to_owned()),
        "{reasons:?}"
    );
    assert!(
        reasons.contains(&"5.12 it has an atomic operation other than adding".to_owned()),
        "{reasons:?}"
    );
}

#[test]
fn a_licence_counts_where_a_helper_asks_for_it() {
    let minimum = |helper: u32, license: &[u8; 3]| {
        let mut object = compile(&format!(
            "SEC(\"fexit/f\") int p(u64 *ctx) {{ return ((long (*)(void)){helper})(); }}"
        ));
        let at = object.windows(4).position(|w| w == b"GPL\0").unwrap();
        object[at..at + 3].copy_from_slice(license);
        let object = Ebpf::load(&object).unwrap();
        assert_eq!(object.license().as_bytes(), license);
        let minimum = object.requirements(Arch::X86_64).unwrap()["p"].minimum();
        minimum.map(|minimum| minimum.to_string())
    };
    assert_eq!(minimum(35, b"GPL").as_deref(), Some("5.5"));
    assert_eq!(minimum(35, b"MIT"), None);
    // It was so for bpf_ktime_get_ns, too, up to 5.7.
    assert_eq!(minimum(5, b"GPL").as_deref(), Some("5.5"));
    assert_eq!(minimum(5, b"MIT").as_deref(), Some("5.8"));
}

#[test]
fn a_helper_that_was_withdrawn_is_named_with_the_release_that_did_so() {
    let source = "SEC(\"fexit/f\") int p(u64 *ctx) { return ((long (*)(void))160)(); }";
    let requirements = requirements(source, "p");
    let requirement = &requirements.requirements[0];
    assert_eq!(
        requirement.what,
        "it calls bpf_ktime_get_coarse_ns, which fexit programs may only before Linux 5.15.5"
    );
    assert!(requirement.source.ends_with("withdrawn by 5e0bc3082e2e"));
    let minimum = requirements.minimum().map(|minimum| minimum.to_string());
    assert_eq!(minimum.as_deref(), Some("5.11"));
}

#[test]
fn a_missing_field_is_named_by_the_instruction_that_the_log_ends_with() {
    let local = format!(
        "{TYPES}
         __attribute__((noinline)) static u64 shared(struct task *t) {{
             return (u64)__builtin_preserve_access_index(&t->in.x) - (u64)t;
         }}
         SEC(\"fexit/f\") int probe(u64 *ctx) {{
             struct task *t = (void *)ctx[0];
             return shared(t) + (u64)__builtin_preserve_access_index(&t->gone) - (u64)t;
         }}"
    );
    let kernel = "struct task { int pid; } t; SEC(\"fexit/f\") int p(void *ctx) { return t.pid; }";
    let kernel = crate::elf::examine(&compile(kernel)).unwrap().1.btf;
    let kernel = crate::Btf::parse(&kernel, crate::Endianness::default()).unwrap();
    let object = Object::parse(&compile(&local), &Globals::new()).unwrap();
    crate::sys::fake::kernel(|_| None);
    let relocated = object
        .relocated("probe", None, || Ok(kernel.clone()))
        .unwrap();
    let instructions = &relocated.function("probe").unwrap().instructions;
    let poisoned = instructions.iter().enumerate();
    let poisoned = poisoned.filter(|(_, insn)| insn.code == 0x85 && insn.imm == 195_896_080);
    let named = poisoned.map(|(at, _)| {
        let log = format!("{at}: (85) call unknown#195896080\ninvalid func unknown#195896080\n");
        let missing = crate::object::relocation_sites::missing(&object, &relocated, "probe", &log);
        missing.iter().map(ToString::to_string).collect::<Vec<_>>()
    });
    let mut named: Vec<_> = named.collect();
    named.sort();
    assert_eq!(named, [["struct task.gone"], ["struct task.in.x"]]);
    assert!(
        crate::object::relocation_sites::missing(&object, &relocated, "probe", "R1 is odd")
            .is_empty()
    );
    // A log that does not tell where names all of them.
    assert_eq!(
        crate::object::relocation_sites::missing(
            &object,
            &relocated,
            "probe",
            "invalid func unknown#195896080"
        )
        .len(),
        2
    );
}

#[test]
fn programs_of_all_types_have_requirements() {
    let source = "
        struct { int (*type)[27]; int (*max_entries)[4096]; } ring SEC(\".maps\");
        struct { int (*type)[14]; int (*max_entries)[8]; int (*key_size)[4]; int (*value_size)[4]; } devices SEC(\".maps\");
        u64 hits;
        SEC(\"kprobe/vfs_open+0x4\") int probe(void *ctx) { return ((long (*)(void *))174)(ctx); }
        SEC(\"kprobe.multi/vfs_*\") int probes(void *ctx) { return 0; }
        SEC(\"ksyscall/openat\") int call(void *ctx) { hits++; return 0; }
        SEC(\"tp/sched/sched_switch\") int trace(void *ctx) {
            return ((long (*)(void *, void *, u64, u64))130)(&ring, ctx, 8, 0);
        }
        SEC(\"xdp\") int frame(void *ctx) { return ((long (*)(void *, u64, u64))51)(&devices, 0, 0); }
        SEC(\"cgroup/connect4\") int connect(void *ctx) { return 1; }
        SEC(\"iter.s/task\") int tasks(void *ctx) { return 0; }
        SEC(\"syscall\") int call_me(void *ctx) { return 0; }
        SEC(\"lsm.s/file_open\") int hook(void *ctx) { return 0; }
        SEC(\"tp_btf/sched_switch\") int typed(void *ctx) { return 0; }
        SEC(\"fentry/ext4:ext4_open\") int entry(void *ctx) { return 0; }
        SEC(\"freplace/main\") int other(void *ctx) { return 0; }";
    let object = Ebpf::load(&compile(source)).unwrap();
    let all = object.requirements(Arch::X86_64).unwrap();
    assert!(!all.contains_key("other"));
    let of = |program: &str| {
        let r = &all[program];
        let target = r.target.as_ref();
        (
            r.program_type,
            r.attach_type.unwrap_or("-"),
            target.map_or("-", |target| target.name.as_str()),
            r.minimum().unwrap().to_string(),
            r.is_sleepable,
        )
    };
    for (program, prog, attach, target, minimum, sleepable) in [
        ("probe", "KPROBE", "-", "vfs_open", "5.15", false),
        (
            "probes",
            "KPROBE",
            "TRACE_KPROBE_MULTI",
            "vfs_*",
            "5.18",
            false,
        ),
        ("call", "KPROBE", "-", "openat", "5.2", false),
        (
            "trace",
            "TRACEPOINT",
            "-",
            "sched/sched_switch",
            "5.8",
            false,
        ),
        ("frame", "XDP", "-", "-", "4.14", false),
        (
            "connect",
            "CGROUP_SOCK_ADDR",
            "CGROUP_INET4_CONNECT",
            "-",
            "4.17",
            false,
        ),
        ("tasks", "TRACING", "TRACE_ITER", "task", "5.10", true),
        ("call_me", "SYSCALL", "-", "-", "5.14", true),
        ("hook", "LSM", "LSM_MAC", "file_open", "5.10", true),
        (
            "typed",
            "TRACING",
            "TRACE_RAW_TP",
            "sched_switch",
            "5.5",
            false,
        ),
        (
            "entry",
            "TRACING",
            "TRACE_FENTRY",
            "ext4_open",
            "5.11",
            false,
        ),
    ] {
        let expected = (prog, attach, target, minimum.to_owned(), sleepable);
        assert_eq!(of(program), expected, "{program}");
    }
    assert_eq!(
        all["entry"].target.as_ref().unwrap().module.as_deref(),
        Some("ext4")
    );
    assert_eq!(
        reasons(&all["frame"]),
        [
            "4.14 it calls bpf_redirect_map",
            "4.14 its map devices is of type devmap",
            "4.8 it is a program of type `xdp`",
        ]
    );
    assert_eq!(reasons(&all["call"])[0], "5.2 it has a global variable");
}

#[test]
fn helpers_that_require_a_licence_are_named_for_all_types() {
    let source = "SEC(\"tc\") int p(void *ctx) { return ((long (*)(void *, void *, int, u32))69)(ctx, 0, 64, 0); }";
    let mut object = compile(source);
    let at = object.windows(4).position(|w| w == b"GPL\0").unwrap();
    object[at..at + 3].copy_from_slice(b"MIT");
    let required = Ebpf::load(&object)
        .unwrap()
        .requirements(Arch::X86_64)
        .unwrap();
    assert_eq!(required["p"].minimum(), None);
}

#[test]
fn struct_ops_exceptions_and_arenas_have_requirements() {
    let source = "
        struct ops___part { int (*first)(int a); int (*second)(void); };
        SEC(\"struct_ops/anything\") int implements(void *ctx) { return 0; }
        SEC(\"struct_ops.s\") int sleeps(void *ctx) { return 0; }
        SEC(\"struct_ops\") int unused(void *ctx) { return 0; }
        SEC(\".struct_ops\") struct ops___part v = { .second = (void *)implements, .first = (void *)sleeps };
        struct { int (*type)[33]; int (*max_entries)[1]; } arena SEC(\".maps\");
        int far SEC(\".addr_space.1\") = 1;
        SEC(\"xdp\") int reads(void *ctx) { return *(volatile int *)&far; }
        int caught(u64 cookie) { return ((long (*)(void))158)() + 1; }
        __attribute__((btf_decl_tag(\"exception_callback:caught\")))
        SEC(\"xdp\") int throws(void *ctx) { return 0; }";
    let all = Ebpf::load(&compile(source))
        .unwrap()
        .requirements(Arch::X86_64)
        .unwrap();
    let first = |program: &str| reasons(&all[program]).remove(0);
    let target = |program: &str| {
        all[program]
            .target
            .as_ref()
            .map(|target| target.name.as_str())
    };
    assert_eq!(target("implements"), Some("ops.second"));
    assert_eq!(target("sleeps"), Some("ops.first"));
    assert_eq!(target("unused"), None);
    assert_eq!(
        first("implements"),
        "5.6 it is a program of type `struct_ops`"
    );
    assert_eq!(
        first("sleeps"),
        "6.3 it is a program of type `struct_ops.s`"
    );
    assert!(all["sleeps"].is_sleepable && !all["implements"].is_sleepable);
    assert_eq!(first("reads"), "6.9 its map arena is of type arena");
    assert_eq!(first("throws"), "6.7 it has an exception callback");
    // What the callback requires, the program does.
    assert_eq!(all["throws"].helpers, [158]);
}
