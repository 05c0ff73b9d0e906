//! Program types by section, the licence, and damaged files.

use aya_obj::generated::bpf_insn;

use super::{KERNEL, LOCAL, kernel, relocate};
use crate::object::{Globals, Object};
use crate::testing::{compile, compile_without_license};

#[test]
fn programs_of_unknown_types_are_ignored_with_their_relocations() {
    let source = "#define CORE __attribute__((preserve_access_index))
        struct task { int pid; long pad[4]; int other; } CORE;
        SEC(\"fsomething/f\") int other_type(u64 *ctx) { return ((struct task *)ctx[0])->other; }
        SEC(\"fexit/f\") int probe(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        int f(struct task *t) { return t->pid; }";
    let imms_and_offsets = relocate(source, &kernel(KERNEL));
    // `pid` is at offset 40 there; clang reads the field at an offset, or adds the offset first.
    let at_40 = |insn: &bpf_insn| insn.off == 40 || insn.imm == 40;
    assert!(imms_and_offsets.iter().any(at_40), "{imms_and_offsets:?}");
    let object = Object::parse(&compile(source), &Globals::new()).unwrap();
    assert_eq!(
        object
            .extra
            .other_programs
            .get("other_type")
            .map(String::as_str),
        Some("fsomething/f")
    );
}

#[test]
fn sessions_and_kfuncs_are_parsed() {
    let source = "#define CORE __attribute__((preserve_access_index))
        struct task { int pid; } CORE;
        extern int is_return(void *ctx) __attribute__((section(\".ksyms\")));
        extern int other(void *ctx) __attribute__((section(\".ksyms\")));
        SEC(\"fsession/f\") int session(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        SEC(\"fexit.multi/f*\") int many(u64 *ctx) { return is_return(ctx); }
        SEC(\"fexit/f\") int probe(u64 *ctx) { return is_return(ctx) + other(ctx) + is_return(ctx); }
        int f(struct task *t) { return t->pid; }";
    let object = Object::parse(&compile(source), &Globals::new()).unwrap();
    assert_eq!(object.extra.sections["session"], "fsession/f");
    assert_eq!(object.extra.sections["many"], "fexit.multi/f*");
    assert_eq!(object.extra.externs.len(), 2);
    let calls: Vec<_> = relocate(source, &kernel(KERNEL))
        .into_iter()
        .filter(|insn| insn.code == 0x85)
        .map(|insn| {
            (
                insn.src_reg(),
                object.extra.externs[insn.imm as usize].name.clone(),
            )
        })
        .collect();
    // The types of external symbols do not prevent that the BTF is loaded.
    assert!(object.btf_fd().is_some());
    let kfunc = |name: &str| (2, name.to_owned());
    assert_eq!(
        calls,
        [kfunc("is_return"), kfunc("other"), kfunc("is_return")]
    );
}

#[test]
fn section_and_function_may_share_a_string() {
    let source = "#define CORE __attribute__((preserve_access_index))
        struct task { int pid; } CORE;
        SEC(\"fsession\") int session(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        SEC(\"fsession/f\") int f(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        SEC(\"fsession.multi\") int multi(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        int g(struct task *t) { return t->pid; }";
    let object = Object::parse(&compile(source), &Globals::new()).unwrap();
    let at_40 = |insn: &bpf_insn| insn.off == 40 || insn.imm == 40;
    crate::sys::fake::kernel(|_| None);
    let kernel = kernel(KERNEL);
    let relocated = object.relocated("f", None, || Ok(kernel.clone())).unwrap();
    for (name, section) in [
        ("session", "fsession"),
        ("f", "fsession/f"),
        ("multi", "fsession.multi"),
    ] {
        assert_eq!(object.extra.sections[name], section);
        let function = relocated.function(name).unwrap();
        assert!(function.instructions.iter().any(at_40), "{name}");
        // The BTF has the function under the alias of its section too.
        assert_eq!(function.func_info.func_info.len(), 1, "{name}");
        let id = function.func_info.func_info[0].type_id;
        let btf = object.parsed().btf.as_ref().unwrap().to_bytes();
        let btf = crate::btf::raw::Raw::parse(btf).unwrap();
        let offset = btf.by_id(id).unwrap().name_off();
        assert!(btf.is_named(offset, name.as_bytes()), "{name}");
        assert!(function.line_info.line_info.len() > 1, "{name}");
    }
}

#[test]
fn programs_of_sections_with_a_question_mark_are_optional() {
    let source = "#define CORE __attribute__((preserve_access_index))
        struct task { int pid; } CORE;
        SEC(\"?fexit/f\") int optional(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        SEC(\"fexit/f\") int required(u64 *ctx) { return 0; }
        SEC(\"?fsession/f\") int session(u64 *ctx) { return 0; }
        SEC(\"?xdp\") int optional_xdp(void *ctx) { return 1; }
        SEC(\"xdp\") int required_xdp(void *ctx) { return 2; }
        SEC(\"?fmod_ret/f\") int other(void *ctx) { return 0; }
        int f(struct task *t) { return t->pid; }";
    let mut ebpf = crate::Ebpf::load(&compile(source)).unwrap();
    for (name, section, optional) in [
        ("optional", "fexit/f", true),
        ("required", "fexit/f", false),
        ("session", "fsession/f", true),
        ("optional_xdp", "xdp", true),
        ("required_xdp", "xdp", false),
        ("other", "fmod_ret/f", true),
    ] {
        let program = ebpf.program(name).unwrap();
        assert_eq!(program.section(), section, "{name}");
        assert_eq!(program.is_optional(), optional, "{name}");
    }
    assert!(<&mut crate::programs::FExit>::try_from(ebpf.program_mut("optional").unwrap()).is_ok());
    crate::sys::fake::kernel(|_| None);
    let kernel = kernel(KERNEL);
    let object = &ebpf.shared.object;
    for name in [
        "optional",
        "required",
        "session",
        "optional_xdp",
        "required_xdp",
    ] {
        let relocated = object.relocated(name, None, || Ok(kernel.clone())).unwrap();
        let function = relocated.function(name).unwrap();
        assert_eq!(function.func_info.func_info.len(), 1, "{name}");
        let at_40 = |insn: &bpf_insn| insn.off == 40 || insn.imm == 40;
        let reads = function.instructions.iter().any(at_40);
        assert_eq!(reads, name == "optional", "{name}");
    }
}

#[test]
fn licence_is_read_from_its_section() {
    let program = "SEC(\"fexit/f\") int probe(void *ctx) { return 0; }";
    let license = |declared: &str| {
        let object = compile_without_license(&format!("{program}\n{declared}"));
        let object = Object::parse(&object, &Globals::new()).unwrap();
        crate::sys::fake::kernel(|_| None);
        assert!(object.btf_fd().is_some(), "{declared}");
        object.extra.license.into_string().unwrap()
    };
    for (declared, text) in [
        ("", ""),
        ("char l[] SEC(\"license\") = \"\";", ""),
        (
            "char l[] SEC(\"license\") = \"Dual BSD/GPL\";",
            "Dual BSD/GPL",
        ),
        ("char l[3] SEC(\"license\") = \"GPL\";", "GPL"),
        ("char l[8] SEC(\"license\") = \"GPL\";", "GPL"),
    ] {
        assert_eq!(license(declared), text, "{declared}");
    }
}

#[test]
fn damaged_objects_are_errors_and_never_panics() {
    let object = compile(LOCAL);
    for end in [0, 3, 64, object.len() / 2, object.len() - 1] {
        assert!(
            Object::parse(&object[..end], &Globals::new()).is_err(),
            "truncated at {end}"
        );
    }
    assert!(Object::parse(b"\x7fELF nonsense", &Globals::new()).is_err());
    let mut other_machine = object.clone();
    other_machine[18] = 62; // x86-64
    let error = Object::parse(&other_machine, &Globals::new()).unwrap_err();
    assert!(error.to_string().contains("clang -target bpf"), "{error}");
}

#[test]
fn globals_in_an_arena_need_one_arena_that_is_large_enough() {
    let arena = |name: &str| {
        format!("struct {{ int (*type)[33]; int (*max_entries)[1]; }} {name} SEC(\".maps\");")
    };
    let (one, other) = (arena("one"), arena("other"));
    let few = "int far SEC(\".addr_space.1\") = 1;";
    let many = "char far[70000] SEC(\".addr_space.1\") = {1};";
    for (declared, expected) in [
        (format!("{one} {few}"), ""),
        (few.to_owned(), "declare one map of type BPF_MAP_TYPE_ARENA"),
        (
            format!("{one} {other} {few}"),
            "declare one map of type BPF_MAP_TYPE_ARENA",
        ),
        (
            format!("{one} {many}"),
            "global variables in an arena take 70000",
        ),
    ] {
        let source = format!("{declared} SEC(\"xdp\") int p(void *ctx) {{ return *(int *)&far; }}");
        match Object::parse(&compile(&source), &Globals::new()) {
            Ok(_) => assert_eq!(expected, "", "{declared}"),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    !expected.is_empty() && text.contains(expected),
                    "{declared}: {text}"
                );
            }
        }
    }
}
