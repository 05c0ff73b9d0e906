//! Programs that implement functions of a struct of the kernel: the struct and the member that are passed.

use aya_obj::generated::bpf_cmd::{BPF_MAP_CREATE, BPF_PROG_LOAD};

use super::targets::btf_objects;
use super::{TARGETS, kernel, last_load, object_of, target_of};
use crate::btf::raw::{Kind, Raw};
use crate::programs::{OtherProgram, ProgramError};
use crate::{Btf, Ebpf, EbpfError, testing};

const STRUCT_OPS: u32 = 27;
const SLEEPABLE: u32 = 16;

/// A struct that programs may implement.
const OPS: &str = "
    struct ops { long data; int (*first)(int a); char name[8]; int (*second)(void); int bits : 3; };
    struct bpf_struct_ops_ops { int common; struct ops data; };
    struct bpf_struct_ops_ops value;";

fn id_of_ops(raw: &Raw) -> u32 {
    let mut types = raw.types().filter(|t| t.kind == Kind::Struct);
    types
        .find(|t| raw.is_named(t.name_off(), b"ops"))
        .unwrap()
        .id
}

fn load(ebpf: &mut Ebpf, program: &str) -> Result<(), ProgramError> {
    let program: &mut OtherProgram = ebpf.program_mut(program).unwrap().try_into()?;
    program.load()
}

/// The object's struct has other members in another order.
#[test]
fn struct_and_index_of_the_member_of_the_kernel_are_passed() {
    let source = "
        struct ops___mine { int (*second)(void); int gone; int (*absent)(void); int (*first)(int a); };
        SEC(\"struct_ops/one\") int one(u64 *ctx) { return 1; }
        SEC(\"struct_ops.s\") int two(u64 *ctx) { return 2; }
        SEC(\"?struct_ops/two\") int three(u64 *ctx) { return 3; }
        SEC(\".struct_ops\") struct ops___mine a = { .first = (void *)one, .second = (void *)two };
        SEC(\".struct_ops.link\") struct ops___mine b = { .first = (void *)one };
        SEC(\"?.struct_ops\") struct ops___mine c = { .second = (void *)three };";
    let mut ebpf = object_of(source);
    let (kernel, _) = kernel(|_| None);
    kernel.lacks(&[], &format!("{TARGETS} {OPS}"));
    let id = id_of_ops(Btf::from_sys_fs().unwrap().raw().unwrap());
    for (program, member, flags) in [("one", 1, 0), ("two", 3, SLEEPABLE), ("three", 3, 0)] {
        load(&mut ebpf, program).unwrap();
        let expected = [STRUCT_OPS, member, flags, id, 0];
        assert_eq!(target_of(&last_load(&kernel)), expected, "{program}");
    }
    assert_eq!(kernel.count(BPF_MAP_CREATE), 0);
    let is_optional = |name| ebpf.program(name).unwrap().is_optional();
    assert!(!is_optional("one") && is_optional("three"));
}

#[test]
fn struct_of_a_module_is_passed_with_the_btf_of_the_module() {
    let mut answer = btf_objects(vec![(9, "a_module", vec![], true)]);
    let (kernel, btf) = kernel(move |call| answer(call));
    let base = btf.raw().unwrap();
    let module = testing::split_btf(base, OPS);
    let id = id_of_ops(&Raw::parse_split(module.clone(), base).unwrap());
    kernel.file("/sys/kernel/btf/a_module", &module);
    let mut ebpf = object_of(
        "struct ops { int (*second)(void); };
         SEC(\"struct_ops\") int p(u64 *ctx) { return 0; }
         SEC(\".struct_ops.link\") struct ops v = { .second = (void *)p };",
    );
    load(&mut ebpf, "p").unwrap();
    let [.., attach_btf_id, attach_fd] = target_of(&last_load(&kernel));
    assert_eq!(attach_btf_id, id);
    assert_ne!(attach_fd, 0);
}

#[test]
fn struct_that_differs_from_the_kernels_is_refused_with_the_reason() {
    for (members, value, expected) in [
        ("int (*first)(int a);", ".first = (void *)p", ""),
        (
            "int (*absent)(void);",
            ".absent = (void *)p",
            "the kernel's struct has no member `absent`",
        ),
        (
            "int (*first)(int a); int gone;",
            ".first = (void *)p, .gone = 1",
            "the kernel's struct has no member `gone`",
        ),
        (
            "int (*first)(int a); int (*gone)(void);",
            ".first = (void *)p, .gone = (void *)q",
            "", // Another program does not count.
        ),
        (
            "int (*first)(int a); int data;",
            ".first = (void *)p",
            "member `data` is of another size",
        ),
        (
            "int (*first)(int a); int *name;",
            ".first = (void *)p",
            "member `name` is of another type",
        ),
        (
            "int (*first)(int a); int bits : 3;",
            ".first = (void *)p",
            "member `bits` is a bit field",
        ),
        (
            "int (*first)(int a); int (*second)(void);",
            ".first = (void *)p, .second = (void *)p",
            "`p` is set for more than one member",
        ),
        (
            "int (*first)(int a); int (*second)(void);",
            ".first = (void *)p, .second = (void *)8",
            "pointer `second` is set to something that is no program",
        ),
    ] {
        let mut ebpf = object_of(&format!(
            "struct ops {{ {members} }};
             SEC(\"struct_ops\") int p(u64 *ctx) {{ return 0; }}
             SEC(\"struct_ops\") int q(u64 *ctx) {{ return 0; }}
             SEC(\".struct_ops\") struct ops v = {{ {value} }};"
        ));
        let (kernel, _) = kernel(|_| None);
        kernel.lacks(&[], &format!("{TARGETS} {OPS}"));
        let loaded = load(&mut ebpf, "p");
        assert_eq!(
            kernel.count(BPF_PROG_LOAD),
            usize::from(expected.is_empty()),
            "{members}"
        );
        match loaded {
            Ok(()) => assert_eq!(expected, "", "{members}"),
            Err(error @ ProgramError::StructOps { .. }) => {
                let text = error.to_string();
                assert!(
                    !expected.is_empty() && text.contains(expected),
                    "{members}: {text}"
                );
            }
            Err(other) => panic!("{members}: {other}"),
        }
    }
}

#[test]
fn program_for_no_struct_of_the_kernel_is_refused() {
    let mut ebpf = object_of(
        "struct ops { int (*first)(int a); };
         SEC(\"struct_ops/first\") int p(u64 *ctx) { return 0; }
         SEC(\"struct_ops/first\") int unused(u64 *ctx) { return 0; }
         SEC(\".struct_ops\") struct ops v = { .first = (void *)p };",
    );
    let (kernel, _) = kernel(|_| None);
    let error = load(&mut ebpf, "p").unwrap_err().to_string();
    for part in [
        "`p`",
        "`ops.first`",
        "BTF has no `struct bpf_struct_ops_ops`",
        "load the module, which must have BTF",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = load(&mut ebpf, "unused").unwrap_err();
    assert!(
        matches!(error, ProgramError::UnusedStructOps { .. }),
        "{error}"
    );
    for part in [
        "`unused`",
        "`struct_ops/first`",
        "set a member of one to it",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert_eq!(kernel.count(BPF_PROG_LOAD), 0);
}

#[test]
fn variable_that_libbpf_refuses_is_an_error_of_the_object() {
    for (variable, expected) in [
        (
            "struct { int (*f)(void); } v = { .f = (void *)p };",
            "not of a struct type with a name",
        ),
        ("long v = 1;", "not of a struct type with a name"),
        (
            "struct ops { void *f; } v = { .f = (void *)p };",
            "something that is no function pointer",
        ),
        (
            "struct ops { int (*f)(void); } v = { .f = (void *)x };",
            "no program in a section `struct_ops`",
        ),
        (
            "struct ops { int (*f)(void); } v = { .f = (void *)&data };",
            "no program in a section `struct_ops`",
        ),
    ] {
        let object = testing::compile(&format!(
            "int data = 1;
             SEC(\"struct_ops\") int p(u64 *ctx) {{ return 0; }}
             SEC(\"xdp\") int x(u64 *ctx) {{ return 0; }}
             SEC(\".struct_ops\") {variable}"
        ));
        let error = match Ebpf::load(&object) {
            Err(error @ EbpfError::Malformed { .. }) => error.to_string(),
            other => panic!("{variable}: {other:?}"),
        };
        assert!(error.contains(expected), "{variable}: {error}");
    }
}
