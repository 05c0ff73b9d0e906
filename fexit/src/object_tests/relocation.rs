//! CO-RE relocations.

use aya_obj::generated::bpf_insn;

use super::{KERNEL, LOCAL, immediates, kernel, relocate, with_two_of_a_name};
use crate::btf::Btf;
use crate::object::{Globals, Object};
use crate::testing::compile;

#[test]
fn relocations_use_the_kernels_layout_and_ids() {
    let kernel = kernel(KERNEL);
    let insns = relocate(LOCAL, &kernel);
    let task = kernel
        .raw()
        .unwrap()
        .types()
        .find(|t| kernel.raw().unwrap().is_named(t.name_off(), b"task"))
        .unwrap();
    let imms = immediates(&insns);
    assert!(imms.contains(&56), "in.y lies at 48 + 8: {imms:?}");
    assert!(imms.contains(&72), "a task has 72 bytes: {imms:?}");
    assert!(imms.contains(&77), "GREEN is 77 there: {imms:?}");
    assert!(
        imms.contains(&task.id.cast_signed()),
        "the id is {}: {imms:?}",
        task.id
    );
    assert!(
        !imms.contains(&0x0bad_2310),
        "every relocation is resolved: {imms:?}"
    );
}

#[test]
fn relocations_are_kept_for_the_types_that_they_were_made_for() {
    let object = Object::parse(&compile(LOCAL), &Globals::new()).unwrap();
    crate::sys::fake::kernel(|_| None);
    let relocated = |kernel: &Btf| {
        let kernel = || Ok(kernel.clone());
        object.relocated("probe", None, kernel).unwrap()
    };
    let (one, other) = (kernel(KERNEL), kernel(&KERNEL.replace("77", "78")));
    let first = relocated(&one);
    assert!(std::sync::Arc::ptr_eq(&first, &relocated(&one.clone())));
    let green = |kernel: &Btf, value| {
        let relocated = relocated(kernel);
        immediates(&relocated.function("probe").unwrap().instructions).contains(&value)
    };
    assert!(green(&one, 77) && !green(&one, 78));
    assert!(green(&other, 78) && !green(&other, 77));
    assert!(green(&one, 77) && !green(&one, 78));
}

/// Elements of an array of no declared length at the end of a struct: `args` of `struct syscall_trace_enter`.
#[test]
fn any_element_of_a_flexible_array_can_be_read() {
    let kernel = kernel(
        "struct entry { long pad; int nr; unsigned long args[]; }; struct entry e;
        struct fixed { int nr; unsigned long args[2]; }; struct fixed g;
        int f(struct entry *e) { return e->nr; }
        SEC(\"fexit/f\") int p(void *ctx) { return 0; }",
    );
    let local = |index: usize, end: &str| {
        format!(
            "struct entry {{ int nr; unsigned long args[0]; {end} }} __attribute__((preserve_access_index));
            SEC(\"fexit/f\") int probe(unsigned long *ctx)
            {{ return ((struct entry *)ctx[0])->args[{index}]; }}"
        )
    };
    for index in 0..4_usize {
        let insns = relocate(&local(index, ""), &kernel);
        let offset = i16::try_from(16 + 8 * index).unwrap();
        assert!(insns.iter().any(|insn| insn.off == offset), "args[{index}]");
    }
    // The kernel's array has an end.
    let fixed = local(2, "").replace("entry", "fixed");
    let object = Object::parse(&compile(&fixed), &Globals::new()).unwrap();
    crate::sys::fake::kernel(|_| None);
    let relocated = object.relocated("probe", None, || Ok(kernel.clone()));
    let insns = relocated
        .unwrap()
        .function("probe")
        .unwrap()
        .instructions
        .clone();
    assert!(immediates(&insns).contains(&0x0bad_2310), "args[2] of 2");
}

#[test]
fn min_core_btf_gives_the_same_code_as_all_types() {
    let kernel = kernel(KERNEL);
    let object = compile(LOCAL);
    let extra = crate::elf::examine(&object).unwrap().1;
    let local = crate::btf::raw::Raw::parse(extra.btf.clone()).unwrap();
    let built = crate::btf::min_core_btf::build(&kernel, [], &local, &extra.core)
        .unwrap()
        .unwrap();
    assert!(built.len() < kernel.raw().unwrap().bytes().len());
    let min_btf = Btf::parse(&built, crate::Endianness::default()).unwrap();
    assert!(min_btf.has_struct("task") && !min_btf.has_struct("unrelated"));
    assert!(min_btf.has_struct("pointee") && !min_btf.has_member("pointee", "u"));
    assert!(min_btf.has_member("task", "p") && !min_btf.has_member("task", "pad"));

    let mut parsed = aya_obj::Object::parse(&object).unwrap();
    let endianness = parsed.endianness;
    let all = aya_obj::btf::Btf::parse(kernel.raw().unwrap().bytes(), endianness).unwrap();
    parsed.relocate_btf(&all).unwrap();
    let expected = parsed.functions[&parsed.programs["probe"].function_key()]
        .instructions
        .clone();
    assert_eq!(immediates(&relocate(LOCAL, &kernel)), immediates(&expected));
}

#[test]
fn missing_field_poisons_its_instruction() {
    let source = "struct task { int pid; int gone; } __attribute__((preserve_access_index));
        SEC(\"fexit/f\") int probe(u64 *ctx) { struct task *t = (void *)ctx[0]; return t->gone; }
        int f(struct task *t) { return 0; }";
    let imms = immediates(&relocate(source, &kernel(KERNEL)));
    assert!(imms.contains(&0x0bad_2310), "{imms:?}");
}

#[test]
fn relocations_of_an_absent_type_poison_only_their_instructions() {
    let source = "struct absent { int a; }; struct task { int pid; };
        SEC(\"fexit/f\") int probe(u64 *ctx) {
            u64 sum = 0;
            if (__builtin_preserve_type_info(*(struct absent *)0, 0))
                sum = __builtin_preserve_type_info(*(struct absent *)0, 1)
                    + __builtin_btf_type_id(*(struct absent *)0, 1);
            return sum + __builtin_preserve_type_info(*(struct task *)0, 1); }
        int f(int a) { return a; }";
    let insns = relocate(source, &kernel(KERNEL));
    let poisoned = insns
        .iter()
        .filter(|insn| insn.code == 0x85 && insn.imm == crate::object::POISON);
    // The size, and both halves of the id.
    assert_eq!(poisoned.count(), 3, "{:?}", immediates(&insns));
    assert!(immediates(&insns).contains(&72), "a task has 72 bytes");
}

/// An object whose relocations of kind "type exists" are changed to "type matches", which needs no clang 15.
fn asking_for_matches(source: &str) -> Vec<u8> {
    use object::{Object as _, ObjectSection as _};
    const EXISTS: u32 = 8;
    const MATCHES: u32 = 12;
    let mut file = compile(source);
    let parsed = object::File::parse(file.as_slice()).unwrap();
    let section = parsed.section_by_name(".BTF.ext").unwrap();
    let (start, size) = section.file_range().unwrap();
    let (start, size) = (start as usize, size as usize);
    let ext = &mut file[start..start + size];
    // A record is four words, of which the last is the kind; each but the first word of the section is one of those.
    let word = |ext: &[u8], at: usize| u32::from_ne_bytes(ext[at..at + 4].try_into().unwrap());
    let begin = (word(ext, 4) + word(ext, 24)) as usize;
    let end = begin + word(ext, 28) as usize;
    let mut at = begin + 4;
    while at < end {
        let records = word(ext, at + 4);
        at += 8;
        for _ in 0..records {
            if word(ext, at + 12) == EXISTS {
                ext[at + 12..at + 16].copy_from_slice(&MATCHES.to_ne_bytes());
            }
            at += 16;
        }
    }
    file
}

#[test]
fn type_matches_compares_names_kinds_and_members() {
    let kernel = kernel(
        "struct inner { long pad; int y; int x; };
        struct task { struct inner *p; int pid; struct inner in; unsigned flags; };
        enum color { GREEN = 77, RED = 1, BLUE = 3 };
        typedef int (*callback)(struct task *t, long n);
        struct task t; enum color c; callback cb;
        int f(struct task *t) { return t->pid; }
        SEC(\"fexit/f\") int p(void *ctx) { return 0; }",
    );
    let matches = |declared: &str, name: &str| {
        let source = format!(
            "{declared};
            SEC(\"fexit/f\") int probe(u64 *ctx) {{
                return 1000 + __builtin_preserve_type_info(*({name} *)0, 0); }}
            SEC(\"fexit/f\") int other(u64 *ctx) {{ return 5; }}
            int f(int a) {{ return a; }}"
        );
        let object = Object::parse(&asking_for_matches(&source), &Globals::new()).unwrap();
        assert_eq!(object.extra.core[0].kind, 12);
        crate::sys::fake::kernel(|_| None);
        let relocated = object
            .relocated("probe", None, || Ok(kernel.clone()))
            .unwrap();
        let imms = immediates(&relocated.function("probe").unwrap().instructions);
        match (imms.contains(&1), imms.iter().filter(|&&n| n == 0).count()) {
            (true, _) => true,
            (false, 2..) => false,
            other => panic!("{other:?} in {imms:?}"),
        }
    };
    for (declared, name, expected) in [
        ("struct task { int pid; }", "struct task", true),
        (
            "struct task___flavour { int pid; }",
            "struct task___flavour",
            true,
        ),
        ("struct task { long pid; }", "struct task", false),
        ("struct task { unsigned pid; }", "struct task", false),
        ("struct task { int gone; }", "struct task", false),
        ("struct absent { int pid; }", "struct absent", false),
        (
            "struct inner { int z; }; struct task { struct inner *p; }",
            "struct task",
            true,
        ),
        (
            "struct inner { int z; }; struct task { struct inner in; }",
            "struct task",
            false,
        ),
        (
            "struct inner { int x; }; struct task { struct inner in; }",
            "struct task",
            true,
        ),
        (
            "struct inner; struct task { struct inner *p; }",
            "struct task",
            true,
        ),
        (
            "union inner; struct task { union inner *p; }",
            "struct task",
            false,
        ),
        ("enum color { RED, BLUE }", "enum color", true),
        ("enum color { RED, BLACK }", "enum color", false),
        ("union task { int pid; }", "union task", false),
        (
            "struct task; typedef int (*callback)(struct task *, long)",
            "callback",
            true,
        ),
        (
            "struct task; typedef int (*callback)(struct task *)",
            "callback",
            false,
        ),
        (
            "struct task; typedef int (*callback)(struct task *, int)",
            "callback",
            false,
        ),
    ] {
        assert_eq!(matches(declared, name), expected, "{declared}");
    }
}

#[test]
fn failed_relocation_fails_only_its_program() {
    // The size of an ambiguous type.
    let source = "struct twice { int a; };
        SEC(\"fexit/f\") int size(u64 *ctx) {
            return __builtin_preserve_type_info(*(struct twice *)0, 1); }
        struct task { int pid; } __attribute__((preserve_access_index));
        SEC(\"fsession/f\") int session(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        SEC(\"fexit/g\") int probe(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        int f(struct task *t) { return t->pid; }";
    let object = Object::parse(&compile(source), &Globals::new()).unwrap();
    crate::sys::fake::kernel(|_| None);
    let kernel = kernel(&with_two_of_a_name());
    for program in ["probe", "session"] {
        let relocated = object
            .relocated(program, None, || Ok(kernel.clone()))
            .unwrap();
        let insns = &relocated.function(program).unwrap().instructions;
        let at_40 = |insn: &bpf_insn| insn.off == 40 || insn.imm == 40;
        assert!(insns.iter().any(at_40), "{program}");
    }
    let error = object
        .relocated("size", None, || Ok(kernel.clone()))
        .err()
        .unwrap();
    assert!(error.to_string().contains("2 types `twice`"), "{error}");
}

#[test]
fn failed_relocation_does_not_affect_other_programs_of_its_section() {
    let source = "struct twice { int a; };
        struct task { int pid; } __attribute__((preserve_access_index));
        __attribute__((noinline)) static int broken(u64 *ctx) {
            return ctx[0] + __builtin_preserve_type_info(*(struct twice *)0, 1); }
        __attribute__((noinline)) static int sound(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        SEC(\"fexit/f\") int size(u64 *ctx) {
            return __builtin_preserve_type_info(*(struct twice *)0, 1); }
        SEC(\"fexit/f\") int indirect(u64 *ctx) { return broken(ctx); }
        SEC(\"fexit/f\") int probe(u64 *ctx) { return sound(ctx); }
        int f(struct task *t) { return t->pid; }";
    let object = Object::parse(&compile(source), &Globals::new()).unwrap();
    crate::sys::fake::kernel(|_| None);
    let kernel = kernel(&with_two_of_a_name());
    let relocate = |program| object.relocated(program, None, || Ok(kernel.clone()));
    assert!(relocate("size").is_err());
    assert!(relocate("indirect").is_err());
    let relocated = relocate("probe").unwrap();
    let at_40 = |insn: &bpf_insn| insn.off == 40 || insn.imm == 40;
    let function = relocated.function("probe").unwrap();
    assert!(function.instructions.iter().any(at_40));
    assert_eq!(function.func_info.func_info.len(), 2);
}
