//! Relocation of real objects against made-up kernels: C that clang compiled, of which only the types count.

use aya_obj::generated::bpf_insn;

use crate::btf::Btf;
use crate::elf::externs::{Declared, ExternKind, Type};
use crate::object::{Globals, Object};
use crate::testing::{compile, compile_without_license};

/// An object that asks for everything that CO-RE knows.
const LOCAL: &str = "
    #define CORE __attribute__((preserve_access_index))
    struct inner { int x; int y; } CORE;
    struct task { int pid; struct inner in; struct pointee *p; int gone; } CORE;
    struct task___old { int moved; } CORE;
    enum color { RED = 1, GREEN = 2 };
    struct absent { int a; } CORE;
    SEC(\"fexit/f\") int probe(u64 *ctx) {
        struct task *t = (void *)ctx[0];
        u64 sum = 0;
        sum += (u64)__builtin_preserve_access_index(&t->in.y) - (u64)t;      // field offset
        sum += (u64)__builtin_preserve_access_index(&t->p) - (u64)t;         // of a pointer
        sum += __builtin_preserve_type_info(*(struct task *)0, 1) * 1000;    // size
        sum += __builtin_preserve_enum_value(*(typeof(enum color) *)GREEN, 1);
        sum += __builtin_preserve_type_info(*(struct absent *)0, 0);         // exists
        sum += __builtin_preserve_field_info(t->gone, 2);                    // exists
        sum += __builtin_btf_type_id(*(struct task *)0, 1);                  // the kernel's id
        return sum;
    }
    int f(struct task *t) { return t->pid; }";

/// A kernel whose `task` is laid out another way, among many types that nobody asks for.
const KERNEL: &str = "
    struct unrelated { long a[100]; struct unrelated *self; };
    struct pointee { struct unrelated u; };
    struct inner { long pad; int y; int x; };
    struct task { struct pointee *p; long pad[4]; int pid; struct inner in; struct task *next; };
    enum color { GREEN = 77, RED = 1 };
    struct unrelated u; struct pointee pp; struct task t; enum color c;
    int f(struct task *t) { return t->pid; }
    SEC(\"fexit/f\") int p(void *ctx) { return 0; }";

/// The same kernel with two types that an object may mean by `struct twice`.
fn with_two_of_a_name() -> String {
    format!("struct twice {{ int a; }} one; struct twice___other {{ long a[5]; }} two; {KERNEL}")
}

fn kernel(source: &str) -> Btf {
    let object = compile(source);
    Btf::parse(
        &crate::elf::examine(&object).unwrap().1.btf,
        crate::Endianness::default(),
    )
    .unwrap()
}

fn relocate(local: &str, kernel: &Btf) -> Vec<bpf_insn> {
    let object = Object::parse(&compile(local), &Globals::new()).unwrap();
    crate::sys::fake::kernel(|_| None);
    let relocated = object
        .relocated("probe", None, || Ok(kernel.clone()))
        .unwrap();
    relocated.function("probe").unwrap().instructions.clone()
}

fn immediates(insns: &[bpf_insn]) -> Vec<i32> {
    insns.iter().map(|insn| insn.imm).collect()
}

#[test]
fn relocations_see_the_kernels_layout_and_ids() {
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
        "nothing that was asked for is missing: {imms:?}"
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

#[test]
fn a_cut_of_the_kernels_types_gives_the_same_code_as_all_of_them() {
    let kernel = kernel(KERNEL);
    let object = compile(LOCAL);
    let extra = crate::elf::examine(&object).unwrap().1;
    let local = crate::btf::raw::Raw::parse(extra.btf.clone()).unwrap();
    let cut = crate::btf::min_core_btf::build(&kernel, [], &local, &extra.core)
        .unwrap()
        .unwrap();
    assert!(cut.len() < kernel.raw().unwrap().bytes().len());
    let cut_btf = Btf::parse(&cut, crate::Endianness::default()).unwrap();
    assert!(cut_btf.has_struct("task") && !cut_btf.has_struct("unrelated"));
    assert!(cut_btf.has_struct("pointee") && !cut_btf.has_member("pointee", "u"));
    assert!(cut_btf.has_member("task", "p") && !cut_btf.has_member("task", "pad"));

    let mut whole = aya_obj::Object::parse(&object).unwrap();
    let endianness = whole.endianness;
    let all = aya_obj::btf::Btf::parse(kernel.raw().unwrap().bytes(), endianness).unwrap();
    whole.relocate_btf(&all).unwrap();
    let expected = whole.functions[&whole.programs["probe"].function_key()]
        .instructions
        .clone();
    assert_eq!(immediates(&relocate(LOCAL, &kernel)), immediates(&expected));
}

#[test]
fn a_field_that_the_kernel_lacks_poisons_the_instruction_that_needs_it() {
    let source = "struct task { int pid; int gone; } __attribute__((preserve_access_index));
        SEC(\"fexit/f\") int probe(u64 *ctx) { struct task *t = (void *)ctx[0]; return t->gone; }
        int f(struct task *t) { return 0; }";
    let imms = immediates(&relocate(source, &kernel(KERNEL)));
    assert!(imms.contains(&0x0bad_2310), "{imms:?}");
}

#[test]
fn damaged_objects_are_errors_and_never_panics() {
    let object = compile(LOCAL);
    for end in [0, 3, 64, object.len() / 2, object.len() - 1] {
        assert!(
            Object::parse(&object[..end], &Globals::new()).is_err(),
            "cut at {end}"
        );
    }
    assert!(Object::parse(b"\x7fELF nonsense", &Globals::new()).is_err());
    let mut other_machine = object.clone();
    other_machine[18] = 62; // x86-64
    let error = Object::parse(&other_machine, &Globals::new()).unwrap_err();
    assert!(error.to_string().contains("clang -target bpf"), "{error}");
}

#[test]
fn globals_that_do_not_fit_are_refused_by_name() {
    let source = "const volatile u32 limit = 3; u32 f(void) { return limit; }
        SEC(\"fexit/f\") int probe(void *ctx) { return limit; }";
    let set = |name: &str, bytes: &[u8], must_exist| {
        let globals = Globals::from([(name.to_owned(), (bytes.to_vec(), must_exist))]);
        Object::parse(&compile(source), &globals)
    };
    assert!(set("limit", &[1, 0, 0, 0], true).is_ok());
    assert!(set("missing", &[1], false).is_ok());
    let error = set("missing", &[1], true).unwrap_err().to_string();
    assert!(
        error.contains("`missing`") && error.contains("no such variable"),
        "{error}"
    );
    let error = set("limit", &[1, 0], true).unwrap_err().to_string();
    assert!(
        error.contains("`limit`") && error.contains("4 bytes, the value 2"),
        "{error}"
    );
}

#[test]
fn programs_of_unknown_kinds_are_left_alone_with_their_relocations() {
    let source = "#define CORE __attribute__((preserve_access_index))
        struct task { int pid; long pad[4]; int other; } CORE;
        SEC(\"fmod_ret/f\") int foreign(u64 *ctx) { return ((struct task *)ctx[0])->other; }
        SEC(\"fexit/f\") int probe(u64 *ctx) { return ((struct task *)ctx[0])->pid; }
        int f(struct task *t) { return t->pid; }";
    let imms_and_offsets = relocate(source, &kernel(KERNEL));
    // `pid` lies at 40 there. A field is read at an offset, or after it was added.
    let at_40 = |insn: &bpf_insn| insn.off == 40 || insn.imm == 40;
    assert!(imms_and_offsets.iter().any(at_40), "{imms_and_offsets:?}");
    let object = Object::parse(&compile(source), &Globals::new()).unwrap();
    assert_eq!(
        object.extra.foreign.get("foreign").map(String::as_str),
        Some("fmod_ret/f")
    );
}

#[test]
fn sessions_and_kernel_functions_pass_a_parser_that_knows_neither() {
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
    // The types of what lies outside do not keep the rest from the kernel.
    assert!(object.btf_fd().is_some());
    let kfunc = |name: &str| (2, name.to_owned());
    assert_eq!(
        calls,
        [kfunc("is_return"), kfunc("other"), kfunc("is_return")]
    );
}

#[test]
fn variables_outside_the_object_are_known_by_name_and_type() {
    let source = "extern int CONFIG_HZ __attribute__((section(\".kconfig\")));
        SEC(\"fexit/f\") int probe(void *ctx) { return CONFIG_HZ; }
        SEC(\"fexit/g\") int other(void *ctx) { return 0; }
        int f(int a) { return a; }";
    let object = Object::parse(&compile(source), &Globals::new()).unwrap();
    let [hz] = object.extra.externs.as_slice() else {
        panic!("{:?}", object.extra.externs);
    };
    assert_eq!((hz.name.as_str(), hz.is_weak), ("CONFIG_HZ", false));
    assert!(matches!(hz.kind, ExternKind::Kconfig(Some(_))), "{hz:?}");
    crate::sys::fake::kernel(|_| None);
    assert!(object.btf_fd().is_some());
}

#[test]
fn a_section_and_a_function_may_share_the_bytes_of_a_name() {
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
        // What the BTF says of the function is found under the section's other name too.
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
fn a_relocation_that_cannot_be_applied_is_its_programs_own() {
    // What is asked is the size of a type of which the kernel has two.
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
fn the_licence_is_what_its_section_says_and_none_without_one() {
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
fn what_an_object_declares_outside_of_itself_is_told_apart() {
    let source = "enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };
        #define KCONFIG __attribute__((section(\".kconfig\")))
        #define KSYM __attribute__((section(\".ksyms\")))
        #define WEAK __attribute__((weak))
        struct task;
        extern _Bool CONFIG_BOOL KCONFIG;
        extern enum libbpf_tristate CONFIG_TRI KCONFIG WEAK;
        extern const volatile long CONFIG_LONG KCONFIG;
        extern char CONFIG_TEXT[8] KCONFIG;
        struct odd { int a; };
        extern struct odd CONFIG_ODD KCONFIG;
        extern const int typed KSYM;
        extern const void untyped KSYM WEAK;
        extern struct task *function(u64 a) KSYM WEAK;
        extern int stray;
        SEC(\"fexit/f\") int probe(u64 *ctx) {
            if (&function && function(ctx[0]))
                return 1;
            return CONFIG_BOOL + CONFIG_TRI + CONFIG_LONG + CONFIG_TEXT[ctx[0] & 7] + CONFIG_ODD.a + typed
                + (&untyped != 0) + stray;
        }
        int f(int a) { return a; }";
    let object = Object::parse(&compile(source), &Globals::new()).unwrap();
    let kinds: std::collections::BTreeMap<_, _> = object
        .extra
        .externs
        .iter()
        .map(|e| (e.name.as_str(), (e.is_weak, e.kind)))
        .collect();
    let kconfig = |kind, size| ExternKind::Kconfig(Some(Declared { kind, size }));
    assert_eq!(kinds["CONFIG_BOOL"], (false, kconfig(Type::Bool, 1)));
    assert_eq!(kinds["CONFIG_TRI"], (true, kconfig(Type::Tristate, 4)));
    let long = Type::Int { signed: true };
    assert_eq!(kinds["CONFIG_LONG"], (false, kconfig(long, 8)));
    assert_eq!(kinds["CONFIG_TEXT"], (false, kconfig(Type::Text, 8)));
    assert_eq!(kinds["CONFIG_ODD"], (false, ExternKind::Kconfig(None)));
    assert!(matches!(kinds["typed"], (false, ExternKind::Variable(1..))));
    assert_eq!(kinds["untyped"], (true, ExternKind::Address));
    assert!(matches!(
        kinds["function"],
        (true, ExternKind::Function(1..))
    ));
    assert_eq!(kinds["stray"], (false, ExternKind::Unknown));
}

/// An object that asks whether types match where the source asks whether they are there: clang knows how to ask for that
/// since its version 15.
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
fn types_match_by_all_that_the_objects_has() {
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
fn programs_of_one_section_do_not_spoil_each_other() {
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

#[test]
fn the_data_of_an_object_are_held_once() {
    let source = "u64 big[1 << 16]; u64 set[4] = {1, 2, 3, 4};
        struct task { int pid; } __attribute__((preserve_access_index));
        SEC(\"fexit/f\") int probe(u64 *ctx) { big[1] = ((struct task *)ctx[0])->pid; return 0; }
        SEC(\"fexit/g\") int second(u64 *ctx) { return set[ctx[0] & 3] + big[2]; }
        int f(struct task *t) { return t->pid; }";
    let ebpf = crate::Ebpf::load(&compile(source)).unwrap();
    crate::sys::fake::kernel(|_| None);
    let object = &ebpf.shared.object;
    let data = |maps: &mut dyn Iterator<Item = &aya_obj::Map>| -> usize {
        maps.map(|map| map.data().len()).sum()
    };
    assert_eq!(
        data(&mut object.maps.values().map(AsRef::as_ref)),
        (1 << 19) + 32
    );
    let kernel = kernel(KERNEL);
    for program in ["probe", "second"] {
        let relocated = object
            .relocated(program, None, || Ok(kernel.clone()))
            .unwrap();
        assert!(data(&mut relocated.object.maps.values()) < 8);
    }
    assert!(data(&mut object.parsed().maps.values()) < 8);
    // Those of the maps that programs and users have are the same.
    for map in object.maps.values() {
        assert_eq!(std::sync::Arc::strong_count(map), 2);
    }
}

#[test]
fn what_an_absent_type_is_asked_for_does_no_harm_where_it_is_asked_whether_it_is_there() {
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
