//! What small kernels lack of what real objects require.

use std::collections::BTreeMap;

use crate::testing::compile;
use crate::{Arch, Btf, Ebpf, Endianness, KernelFiles};

/// The types of a kernel, from C.
fn kernel(source: &str) -> Btf {
    let btf = crate::elf::examine(&compile(source)).unwrap().1.btf;
    Btf::parse(&btf, Endianness::default()).unwrap()
}

/// A kernel with some of everything.
const KERNEL: &str = "
    enum bpf_prog_type { BPF_PROG_TYPE_KPROBE = 2, BPF_PROG_TYPE_XDP = 6, BPF_PROG_TYPE_RAW_TRACEPOINT = 17, BPF_PROG_TYPE_TRACING = 26, BPF_PROG_TYPE_LSM };
    enum bpf_attach_type { BPF_TRACE_FENTRY = 24, BPF_TRACE_FEXIT, BPF_LSM_MAC = 27, BPF_TRACE_RAW_TP = 23 };
    enum bpf_func_id { BPF_FUNC_map_lookup_elem = 1, BPF_FUNC_ktime_get_ns = 5 };
    enum bpf_map_type { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_TASK_STORAGE = 29 };
    struct task { int pid; };
    typedef void (*btf_trace_sched_switch)(void *, int);
    enum bpf_prog_type a; enum bpf_attach_type b; enum bpf_func_id c; enum bpf_map_type d; btf_trace_sched_switch e;
    SEC(\"x\") int vfs_open(struct task *t) { return t->pid + a + b + c + d + (e != 0); }
    SEC(\"x\") int bpf_lsm_file_open(struct task *t) { return 0; }
    SEC(\"x\") int bpf_iter_task(struct task *t) { return 0; }";

/// Effect, kind and name of what is missing for the program `p`.
fn missing(source: &str, config: Option<&str>) -> Vec<String> {
    let object = Ebpf::load(&compile(source)).unwrap();
    let required = object
        .requirements(Arch::X86_64)
        .unwrap()
        .remove("p")
        .unwrap();
    let (btf, modules) = (kernel(KERNEL), BTreeMap::new());
    let files = KernelFiles {
        btf: &btf,
        modules: &modules,
        config,
    };
    crate::sys::fake::kernel(|_| None);
    let found = object.missing("p", &required, required.target.as_ref(), &files);
    let found = found.unwrap().into_iter();
    found
        .map(|one| format!("{:?} {} {}", one.effect, one.kind.name(), one.name))
        .collect()
}

#[test]
fn kernel_without_types_of_tracepoints_does_not_tell_which_it_has() {
    assert_eq!(in_section("raw_tp/none"), ["NotAttached target none"]);
    let old = kernel("int a; SEC(\"x\") int f(void) { return a; }");
    assert!(!old.has_tracepoints().unwrap());
    assert!(kernel(KERNEL).has_tracepoints().unwrap());
}

fn in_section(section: &str) -> Vec<String> {
    missing(
        &format!("SEC(\"{section}\") int p(u64 *ctx) {{ return 0; }}"),
        None,
    )
}

#[test]
fn sections_ask_for_program_type_attach_type_and_target() {
    for section in [
        "fexit/vfs_open",
        "fexit/vmlinux:vfs_open",
        "tp_btf/sched_switch",
        "tp/sched/sched_switch",
        "lsm/file_open",
        "kprobe/vfs_open+0x4",
        "xdp",
    ] {
        let found = in_section(section);
        let lacks_tracepoint_type = section.starts_with("tp/");
        assert_eq!(
            found.is_empty(),
            !lacks_tracepoint_type,
            "{section}: {found:?}"
        );
    }
    for (section, expected) in [
        ("fexit/vfs_opne", "Refused target vfs_opne"),
        ("fexit/ext4:vfs_open", "Depends target ext4:vfs_open"),
        ("tp_btf/sched_none", "Refused target sched_none"),
        ("lsm/none", "Refused target none"),
        ("iter/task", "Refused attach-type BPF_TRACE_ITER"),
        ("kprobe/none", "NotAttached target none"),
        (
            "kprobe.multi/vfs_*",
            "Refused attach-type BPF_TRACE_KPROBE_MULTI",
        ),
        ("netfilter", "Refused program-type BPF_PROG_TYPE_NETFILTER"),
        ("fmod_ret/vfs_open", "Refused attach-type BPF_MODIFY_RETURN"),
    ] {
        assert_eq!(in_section(section)[0], expected, "{section}");
    }
}

#[test]
fn helpers_maps_and_kfuncs_that_are_missing_are_named() {
    let calls = |number: u32| {
        format!("SEC(\"xdp\") int p(void *ctx) {{ return ((long (*)(void *)){number})(ctx); }}")
    };
    assert!(missing(&calls(5), None).is_empty());
    assert_eq!(missing(&calls(181), None), ["Refused helper bpf_loop"]);
    let map = |number: u32| {
        format!(
            "struct {{ int (*type)[{number}]; int (*max_entries)[4096]; }} map SEC(\".maps\");
             SEC(\"xdp\") int p(void *ctx) {{ return ((long (*)(void *, void *))1)(&map, ctx) != 0; }}"
        )
    };
    for (number, expected) in [
        (27, "Refused map-type BPF_MAP_TYPE_RINGBUF"),
        // The enum has it, and the kernel no code for it.
        (29, "Refused map-type BPF_MAP_TYPE_TASK_STORAGE"),
    ] {
        assert_eq!(missing(&map(number), None), [expected]);
    }
    assert!(missing(&map(1), None).is_empty());
    let kfunc = |name: &str, weak: &str| {
        format!(
            "extern void {name}(void) {weak} SEC(\".ksyms\");
             SEC(\"fexit/vfs_open\") int p(u64 *ctx) {{ {name}(); return 0; }}"
        )
    };
    let weak = "__attribute__((weak))";
    assert_eq!(
        missing(&kfunc("bpf_task_acquire", ""), None),
        ["Refused kfunc bpf_task_acquire"]
    );
    assert_eq!(
        missing(&kfunc("bpf_of_module", ""), None),
        ["Depends kfunc bpf_of_module"]
    );
    assert!(missing(&kfunc("bpf_task_acquire", weak), None).is_empty());
}

#[test]
fn what_no_kernel_allows_is_refused_on_each() {
    let source = "SEC(\"fexit/vfs_open\") int p(u64 *ctx) { return ((long (*)(void *))69)(ctx); }";
    let found = missing(source, None);
    assert!(found.contains(&"Refused helper bpf_fib_lookup".to_owned()));
    assert!(
        found
            .iter()
            .any(|one| one.contains("which fexit programs may not")),
        "{found:?}"
    );
}

#[test]
fn fields_depend_if_the_program_asks_first() {
    let types = "struct task { int pid; int gone; } __attribute__((preserve_access_index));
        struct other { int x; } __attribute__((preserve_access_index));";
    let reads = |body: &str| {
        let source = format!(
            "{types} SEC(\"fexit/vfs_open\") int p(u64 *ctx) {{
            struct task *t = (void *)ctx[0]; struct other *o = (void *)ctx[0]; {body} }}"
        );
        missing(&source, None)
    };
    assert!(reads("return t->pid;").is_empty());
    assert_eq!(reads("return t->gone;"), ["Refused core struct task.gone"]);
    let guarded = "return __builtin_preserve_field_info(t->gone, 2) ? t->gone : 0;";
    assert_eq!(reads(guarded), ["Depends core struct task.gone"]);
    // A module may have a type that the kernel itself does not have.
    assert_eq!(reads("return o->x;"), ["Depends core struct other.x"]);
}

#[test]
fn options_that_the_configuration_does_not_set_are_named() {
    let xdp = "SEC(\"xdp\") int p(void *ctx) { return 2; }";
    assert!(missing(xdp, Some("CONFIG_NET=y\n")).is_empty());
    let unset = Some("# CONFIG_NET is not set\nCONFIG_NETDEVICES=y\n");
    assert_eq!(missing(xdp, unset), ["Refused option CONFIG_NET"]);
    let lsm = "SEC(\"lsm/file_open\") int p(u64 *ctx) { return 0; }";
    let config = |list: &str| {
        format!(
            "CONFIG_BPF_LSM=y\nCONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y\nCONFIG_LSM=\"{list}\"\n"
        )
    };
    assert!(missing(lsm, Some(&config("yama,bpf"))).is_empty());
    assert_eq!(
        missing(lsm, Some(&config("yama"))),
        ["NotAttached option CONFIG_LSM"]
    );
}

#[test]
fn options_without_which_functions_are_no_targets_prevent_the_attach() {
    let found = |section: &str, config: &str| {
        let source = format!("SEC(\"{section}\") int p(u64 *ctx) {{ return 0; }}");
        missing(&source, Some(&format!("CONFIG_BPF_EVENTS=y\n{config}")))
    };
    for (section, option) in [
        ("fexit/vfs_open", "DYNAMIC_FTRACE_WITH_DIRECT_CALLS"),
        ("fentry/vfs_open", "DYNAMIC_FTRACE_WITH_DIRECT_CALLS"),
        ("kprobe.multi/vfs_*", "FPROBE"),
        ("fexit.multi/vfs_*", "HAVE_SINGLE_FTRACE_DIRECT_OPS"),
    ] {
        let lacks = format!("NotAttached option CONFIG_{option}");
        assert!(found(section, "").contains(&lacks), "{section}");
        let set = found(section, &format!("CONFIG_{option}=y\n"));
        assert!(!set.contains(&lacks), "{section}: {set:?}");
    }
    // The target is another BPF program, or there is none.
    for section in ["fexit", "tp_btf/sched_switch", "kprobe/vfs_open"] {
        assert!(found(section, "").is_empty(), "{section}");
    }
}

#[test]
fn struct_that_the_kernel_lacks_may_be_of_a_module_and_a_missing_member_is_refused() {
    let found = |name: &str, member: &str| {
        let object = Ebpf::load(&compile(&format!(
            "struct {name} {{ int (*{member})(void); }};
             SEC(\"struct_ops\") int p(void *ctx) {{ return 0; }}
             SEC(\".struct_ops\") struct {name} v = {{ .{member} = (void *)p }};"
        )));
        let object = object.unwrap();
        let required = object
            .requirements(Arch::X86_64)
            .unwrap()
            .remove("p")
            .unwrap();
        let types = "struct ops { int (*first)(void); }; struct bpf_struct_ops_ops { struct ops data; } value;
             enum bpf_prog_type { BPF_PROG_TYPE_STRUCT_OPS = 27 } type;";
        let files = KernelFiles {
            btf: &kernel(types),
            modules: &BTreeMap::new(),
            config: None,
        };
        let found = object.missing("p", &required, required.target.as_ref(), &files);
        let found = found.unwrap().into_iter();
        let line =
            |one: crate::Missing| format!("{:?} {} {}", one.effect, one.kind.name(), one.name);
        found.map(line).collect::<Vec<_>>()
    };
    assert!(found("ops___part", "first").is_empty());
    assert_eq!(found("ops", "second"), ["Refused target ops.second"]);
    assert_eq!(found("others", "first"), ["Depends target others.first"]);
}
