//! Compiled objects, relocated against fake kernels: C sources of which only the types matter.

mod relocation;
mod sections;
mod variables;

use aya_obj::generated::bpf_insn;

use crate::btf::Btf;
use crate::object::{Globals, Object};
use crate::testing::compile;

/// An object with every kind of CO-RE relocation.
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

/// A kernel whose `task` has another layout, among types that no relocation uses.
const KERNEL: &str = "
    struct unrelated { long a[100]; struct unrelated *self; };
    struct pointee { struct unrelated u; };
    struct inner { long pad; int y; int x; };
    struct task { struct pointee *p; long pad[4]; int pid; struct inner in; struct task *next; };
    enum color { GREEN = 77, RED = 1 };
    struct unrelated u; struct pointee pp; struct task t; enum color c;
    int f(struct task *t) { return t->pid; }
    SEC(\"fexit/f\") int p(void *ctx) { return 0; }";

/// The same kernel with two types that match `struct twice`.
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
