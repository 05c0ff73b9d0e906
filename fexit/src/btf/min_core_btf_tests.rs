//! Minimal BTF of fake kernels and modules, compiled from C.

use super::core::CoreRelocation;
use super::min_core_btf::{self, assemble};
use super::raw::{Kind, Raw, Type};
use crate::btf::Btf;
use crate::testing::compile;

/// The types of a source, as a kernel or an object has them.
fn types(source: &str) -> Raw {
    object(source, "0").0
}

/// The types and relocations of an object whose program returns `value`.
fn object(source: &str, value: &str) -> (Raw, Vec<CoreRelocation>) {
    let program = format!("SEC(\"fexit/f\") int probe(void **ctx) {{ return {value}; }}");
    let object = compile(&format!("{source} {program}"));
    let extra = crate::elf::examine(&object).unwrap().1;
    (Raw::parse(extra.btf).unwrap(), extra.core)
}

const KERNEL_TYPE: &str = "__attribute__((preserve_access_index))";

fn structs<'a>(raw: &'a Raw, name: &'a str) -> impl Iterator<Item = Type<'a>> {
    raw.types()
        .filter(|t| t.kind == Kind::Struct && raw.is_named(t.name_off(), name.as_bytes()))
}

fn id(raw: &Raw, name: &str) -> u32 {
    structs(raw, name).next().unwrap().id
}

/// The types of a module of the kernel `base`, which refers to the kernel's `inner` and strings.
fn module(source: &str, base: &Raw) -> Raw {
    let own = types(source);
    let end = base.first_id() + base.count();
    let strings = u32::try_from(base.strings_from(0).len()).unwrap();
    let (own_inner, inner) = (id(&own, "inner"), id(base, "inner"));
    let mut records = Vec::new();
    for t in own.types() {
        let mut record: Vec<u32> = t.words().collect();
        for word in t.name_words() {
            let name = [b"\0", own.string(record[word]).unwrap(), b"\0"].concat();
            let shared = memchr::memmem::find(base.strings_from(0), &name);
            record[word] = match (record[word], shared) {
                (0, _) => 0,
                (_, Some(at)) => u32::try_from(at + 1).unwrap(),
                (own, None) => own + strings,
            };
        }
        for word in t.reference_words() {
            record[word] = match record[word] {
                0 => 0,
                id if id == own_inner => inner,
                id => id - 1 + end,
            };
        }
        records.extend(record.iter().flat_map(|word| word.to_ne_bytes()));
    }
    Raw::parse_split(assemble(&records, own.strings_from(0)), base).unwrap()
}

const INNER: &str = "struct inner { long pad; int x; }; struct inner i;";

#[test]
fn types_of_modules_are_kept_with_the_kernel_types_that_they_embed() {
    let (local, relocations) = object(
        &format!(
            "struct held {{ int a; }} {KERNEL_TYPE}; struct inner {{ int x; }} {KERNEL_TYPE}; \
             struct private {{ struct inner b; }} {KERNEL_TYPE};"
        ),
        "((struct held *)ctx[0])->a + ((struct private *)ctx[1])->b.x",
    );
    let kernel = Btf::from(types(&format!(
        "{INNER} struct held {{ char a; }} h; struct private; struct private *p;"
    )));
    let of = |size: usize| {
        let source = format!("{INNER} struct private {{ char pad[{size}]; struct inner b; }} p;");
        module(
            &format!("{source} struct held {{ long other; }} h;"),
            kernel.raw().unwrap(),
        )
    };
    let (first, second) = (of(8), of(16));
    let is_it = |t: &Type<'_>| t.kind == Kind::Struct && t.size_or_type() == 24;
    let private = first.types().find(is_it).unwrap().id;
    assert!(private >= kernel.raw().unwrap().count());
    // The first module has it, so the others are not searched.
    let built = |groups: Vec<Vec<Raw>>| {
        let built =
            min_core_btf::build(&kernel, groups.into_iter().map(Ok), &local, &relocations).unwrap();
        built.unwrap()
    };
    let found = built(vec![vec![first], vec![second]]);
    let btf = Btf::parse(&found, crate::Endianness::default()).unwrap();
    let raw = btf.raw().unwrap();
    let sizes = |name| -> Vec<u32> { structs(raw, name).map(|t| t.size_or_type()).collect() };
    assert_eq!(sizes("private"), [24]);
    assert_eq!(sizes("inner"), [16]);
    assert_eq!(sizes("held"), [1]);
    assert!(btf.has_member("private", "b") && btf.has_member("inner", "x"));
    let private_here = structs(raw, "private").next().unwrap();
    let embedded = private_here.members().next().map(|(_, id)| id);
    assert_eq!(embedded, Some(id(raw, "inner")));
    // The types of all modules are used.
    let found = built(vec![vec![], vec![of(8), of(16)]]);
    let found = Btf::parse(&found, crate::Endianness::default()).unwrap();
    assert_eq!(structs(found.raw().unwrap(), "private").count(), 2);
}

#[test]
fn only_members_in_relocations_are_kept() {
    let (local, relocations) = object(
        &format!(
            "struct in {{ int x; int other; }} {KERNEL_TYPE}; \
             struct out {{ long other; struct in in; }} {KERNEL_TYPE}; \
             struct out___old {{ int gone; }} {KERNEL_TYPE};"
        ),
        "((struct out *)ctx[0])->in.x + ((struct out___old *)ctx[0])->gone",
    );
    let kernel = Btf::from(types(
        "struct unseen { int x; }; struct in { int other; char x; struct unseen s; int end[0]; }; \
         struct out { struct unseen other; union { long a; struct in in; }; struct unseen last; } o;",
    ));
    let found = min_core_btf::build(&kernel, [], &local, &relocations)
        .unwrap()
        .unwrap();
    let raw = Raw::parse(found).unwrap();
    let members = |t: Type<'_>| -> Vec<String> {
        let name = |off| String::from_utf8_lossy(raw.string(off).unwrap()).into_owned();
        t.members().map(|(off, _)| name(off)).collect()
    };
    let of = |name| members(structs(&raw, name).next().unwrap());
    assert_eq!(of("out"), ["", "last"]);
    assert_eq!(of("in"), ["x", "end"]);
    let mut unions = raw.types().filter(|t| t.kind == Kind::Union);
    assert_eq!(unions.next().map(members).unwrap(), ["in"]);
    assert_eq!(structs(&raw, "unseen").count(), 0);
    // Offsets stay the same.
    let here = structs(&raw, "in").next().unwrap();
    assert_eq!(here.size_or_type(), 12);
    assert_eq!(here.extra(2), 32);
}
