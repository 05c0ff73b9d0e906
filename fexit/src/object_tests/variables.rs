//! Variables and externs.

use super::{KERNEL, kernel};
use crate::elf::externs::{Declared, ExternKind, Type};
use crate::object::{Globals, Object};
use crate::testing::compile;

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
fn kconfig_variable_has_its_name_and_type() {
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
fn externs_have_their_kinds() {
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

#[test]
fn data_of_an_object_is_in_memory_once() {
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
    // The maps of programs and of the caller share the data.
    for map in object.maps.values() {
        assert_eq!(std::sync::Arc::strong_count(map), 2);
    }
}
