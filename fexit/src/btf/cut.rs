//! CO-RE with only the types that an object names.
//!
//! The relocation code (of `aya-obj`) looks through all types of the kernel for each relocation. A kernel has a
//! hundred thousand; an object names a handful. So it is given a blob of just those and what they embed, cut from the
//! kernel's BTF. What lies behind a pointer is only ever asked for its kind, so it is kept without its members.
//!
//! What the kernel proper does not have is looked for in its modules. Their BTF goes on where the kernel's ends, each
//! from the same number on, so a type is known by where it is from as well.

use std::collections::{BTreeMap, HashMap};

use super::raw::{Kind, Raw, Type};

/// The part of the kernel's BTF, and of its modules', that an object's CO-RE relocations can see.
pub(crate) struct Cut {
    /// BTF of its own, with ids from 1.
    pub(crate) bytes: Vec<u8>,
    /// The id that each of its types has in the kernel, or in its module.
    pub(crate) kernel_ids: Vec<u32>,
}

/// Stands between a name and its flavour: `task_struct___old` is a view of `task_struct`.
const FLAVOUR: &[u8] = b"___";

/// A name without its flavour.
fn essential(name: &[u8]) -> &[u8] {
    let flavour = name.windows(3).position(|w| w == FLAVOUR);
    flavour.map_or(name, |at| &name[..at])
}

/// Names to look for among a hundred thousand, by their first byte: that passes over most.
struct Wanted<'a> {
    names: Vec<Vec<&'a [u8]>>,
}

impl<'a> Wanted<'a> {
    fn new() -> Self {
        Self {
            names: vec![Vec::new(); 256],
        }
    }

    fn add(&mut self, name: &'a [u8]) {
        let essential = essential(name);
        // Nothing but a flavour begins with what stands before a flavour.
        let first = essential.first().unwrap_or(&FLAVOUR[0]);
        let names = &mut self.names[usize::from(*first)];
        if !names.contains(&essential) {
            names.push(essential);
        }
    }

    /// The one of them that `strings` begin with, of whatever flavour.
    #[inline]
    fn find(&self, strings: &[u8]) -> Option<&'a [u8]> {
        let ends = |rest: &[u8]| rest.first() == Some(&0) || rest.starts_with(FLAVOUR);
        let names = self.names[usize::from(*strings.first()?)].iter();
        names
            .copied()
            .find(|name| strings.strip_prefix(*name).is_some_and(ends))
    }

    fn remove(&mut self, found: &[&[u8]]) {
        for names in &mut self.names {
            names.retain(|name| !found.contains(name));
        }
    }

    fn is_empty(&self) -> bool {
        self.names.iter().all(Vec::is_empty)
    }
}

/// Cuts out of `kernel` what relocations against the types `wanted` of `local` may look at; what is not there, out of
/// the first of the groups of `modules` that has it.
///
/// `None` when a wanted type has no name: then any type of the kernel may be meant, and the whole of it is needed.
pub(crate) fn cut(
    kernel: &Raw,
    modules: impl IntoIterator<Item = Vec<Raw>>,
    local: &Raw,
    wanted: impl Iterator<Item = u32>,
) -> Option<Cut> {
    let mut names = Wanted::new();
    for id in wanted {
        let name = local
            .by_id(id)
            .and_then(|t| local.string(t.name_off()))
            .unwrap_or_default();
        if name.is_empty() {
            return None;
        }
        names.add(name);
    }
    let mut cutter = Cutter {
        sources: Sources {
            kernel,
            modules: Vec::new(),
        },
        keep: BTreeMap::new(),
        queue: Vec::new(),
    };
    let found = cutter.look(KERNEL, &names);
    names.remove(&found);
    let mut groups = modules.into_iter();
    while !names.is_empty()
        && let Some(group) = groups.next()
    {
        let mut found = Vec::new();
        for module in group {
            cutter.sources.modules.push(module);
            found.extend(cutter.look(cutter.sources.modules.len(), &names));
        }
        names.remove(&found);
    }
    cutter.follow();
    Some(cutter.finish())
}

/// Where a type is from: the kernel proper, or the module of that number.
type Source = usize;
const KERNEL: Source = 0;

struct Sources<'a> {
    kernel: &'a Raw,
    modules: Vec<Raw>,
}

impl Sources<'_> {
    fn raw(&self, source: Source) -> &Raw {
        let module = source.checked_sub(1).and_then(|at| self.modules.get(at));
        module.unwrap_or(self.kernel)
    }

    /// Where a type that `source` refers to by this id is from: most often the kernel, also for modules.
    fn owner(&self, source: Source, id: u32) -> Source {
        if self.raw(source).first_id() <= id {
            source
        } else {
            KERNEL
        }
    }

    fn string(&self, source: Source, offset: u32) -> &[u8] {
        let own = self.raw(source).string(offset);
        own.or_else(|| self.kernel.string(offset))
            .unwrap_or_default()
    }
}

struct Cutter<'a> {
    sources: Sources<'a>,
    /// Kept types, and whether with their members.
    keep: BTreeMap<(Source, u32), bool>,
    queue: Vec<(Source, u32, bool)>,
}

impl Cutter<'_> {
    /// Wants the types of `source` that bear one of these names, and tells which names those were.
    fn look<'n>(&mut self, source: Source, names: &Wanted<'n>) -> Vec<&'n [u8]> {
        let raw = self.sources.raw(source);
        let mut hits = Vec::new();
        for t in raw.types() {
            if t.name_off() != 0
                && t.kind.is_data()
                && let Some(name) = names.find(raw.strings_from(t.name_off()))
            {
                hits.push((t.id, t.kind, name));
            }
        }
        for (id, ..) in &hits {
            self.want(source, *id, true);
        }
        // A declaration says that the type itself is elsewhere.
        let defined = hits.iter().filter(|(_, kind, _)| *kind != Kind::Fwd);
        defined.map(|(.., name)| *name).collect()
    }

    fn want(&mut self, source: Source, id: u32, whole: bool) {
        if id == 0 {
            return;
        }
        let known = self.keep.get(&(source, id)).copied();
        if known.is_none() || (known == Some(false) && whole) {
            self.keep.insert((source, id), whole);
            self.queue.push((source, id, whole));
        }
    }

    fn follow(&mut self) {
        while let Some((source, id, whole)) = self.queue.pop() {
            let Some(t) = self.sources.raw(source).by_id(id) else {
                continue;
            };
            if is_stub(&t, whole) {
                continue;
            }
            let whole = whole && t.kind != Kind::Ptr;
            let references = t.reference_words().into_iter();
            let references: Vec<u32> = references.map(|word| t.word(word)).collect();
            for id in references {
                self.want(self.sources.owner(source, id), id, whole);
            }
        }
    }

    fn finish(self) -> Cut {
        let new_ids: HashMap<_, _> = self.keep.keys().copied().zip(1u32..).collect();
        let mut strings = Strings {
            sources: &self.sources,
            bytes: vec![0],
            known: HashMap::new(),
        };
        let mut types = Vec::new();
        for (&(source, id), &whole) in &self.keep {
            let Some(t) = self.sources.raw(source).by_id(id) else {
                continue;
            };
            let mut record: Vec<u32> = t.words().collect();
            let stub = is_stub(&t, whole);
            for word in t.name_words() {
                record[word] = strings.add(source, record[word]);
            }
            for word in t.reference_words() {
                let owner = self.sources.owner(source, record[word]);
                record[word] = new_ids.get(&(owner, record[word])).copied().unwrap_or(0);
            }
            if stub {
                record.truncate(3);
                record[1] &= !0xffff; // no members
            }
            types.extend(record.iter().flat_map(|word| word.to_ne_bytes()));
        }
        Cut {
            bytes: assemble(&types, &strings.bytes),
            kernel_ids: self.keep.keys().map(|(_, id)| *id).collect(),
        }
    }
}

/// A struct or union of which only the name, kind and size are kept.
fn is_stub(t: &Type<'_>, whole: bool) -> bool {
    !whole && matches!(t.kind, Kind::Struct | Kind::Union)
}

fn assemble(types: &[u8], strings: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(24 + types.len() + strings.len());
    out.extend(super::raw::MAGIC.to_ne_bytes());
    out.extend([1, 0]); // version, flags
    for word in [24, 0, len(types), len(types), len(strings)] {
        out.extend(word.to_ne_bytes());
    }
    out.extend(types);
    out.extend(strings);
    out
}

struct Strings<'a> {
    sources: &'a Sources<'a>,
    bytes: Vec<u8>,
    known: HashMap<(Source, u32), u32>,
}

impl Strings<'_> {
    fn add(&mut self, source: Source, offset: u32) -> u32 {
        if offset == 0 {
            return 0;
        }
        *self.known.entry((source, offset)).or_insert_with(|| {
            let at = u32::try_from(self.bytes.len()).unwrap_or(0);
            self.bytes.extend(self.sources.string(source, offset));
            self.bytes.push(0);
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Btf;
    use crate::testing::compile;

    /// The types of a source, as a kernel or an object has them.
    fn types(source: &str) -> Raw {
        let function = "SEC(\"fexit/f\") int probe(void *ctx) { return 0; }";
        let object = compile(&format!("{source} {function}"));
        Raw::parse(crate::elf::examine(&object, None).unwrap().1.btf).unwrap()
    }

    fn structs<'a>(raw: &'a Raw, name: &'a str) -> impl Iterator<Item = Type<'a>> {
        raw.types()
            .filter(|t| t.kind == Kind::Struct && raw.is_named(t.name_off(), name.as_bytes()))
    }

    fn id(raw: &Raw, name: &str) -> u32 {
        structs(raw, name).next().unwrap().id
    }

    /// The types of a module of the kernel `base`, whose `inner` is that of the kernel.
    fn module(source: &str, base: &Raw) -> Raw {
        let own = types(source);
        let end = base.first_id() + base.count();
        let strings = u32::try_from(base.strings_from(0).len()).unwrap();
        let (own_inner, inner) = (id(&own, "inner"), id(base, "inner"));
        let mut records = Vec::new();
        for t in own.types() {
            let mut record: Vec<u32> = t.words().collect();
            for word in t.name_words() {
                record[word] += if record[word] == 0 { 0 } else { strings };
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
    fn what_the_kernel_lacks_is_cut_out_of_modules_with_what_they_embed_of_the_kernel() {
        let local = types(
            "struct held { int a; } h; struct private { int b; } p; struct inner { int x; } i;",
        );
        let wanted = || {
            ["held", "private", "inner"]
                .map(|name| id(&local, name))
                .into_iter()
        };
        let kernel = types(&format!(
            "{INNER} struct held {{ char a; }} h; struct private; struct private *p;"
        ));
        let of = |size: usize| {
            let source =
                format!("{INNER} struct private {{ char pad[{size}]; struct inner b; }} p;");
            module(
                &format!("{source} struct held {{ long other; }} h;"),
                &kernel,
            )
        };
        let (first, second) = (of(8), of(16));
        let private = id(&first, "private");
        assert!(private >= kernel.count());
        // The first module that is asked has it: the others are not.
        let cut = |groups: Vec<Vec<Raw>>| cut(&kernel, groups, &local, wanted()).unwrap();
        let found = cut(vec![vec![first], vec![second]]);
        let btf = Btf::parse(&found.bytes, crate::Endianness::default()).unwrap();
        let raw = btf.raw().unwrap();
        let sizes = |name| -> Vec<u32> { structs(raw, name).map(|t| t.size_or_type()).collect() };
        assert_eq!(sizes("private"), [24]);
        assert_eq!(sizes("inner"), [16]);
        assert_eq!(sizes("held"), [1]);
        assert!(btf.has_member("private", "b") && btf.has_member("inner", "x"));
        let private_here = structs(raw, "private").next().unwrap();
        let embedded = private_here.members().nth(1).map(|(_, id)| id);
        assert_eq!(embedded, Some(id(raw, "inner")));
        assert!(found.kernel_ids.contains(&private));
        // Of modules that are asked together, each is heard.
        let found = cut(vec![vec![], vec![of(8), of(16)]]);
        let found = Btf::parse(&found.bytes, crate::Endianness::default()).unwrap();
        assert_eq!(structs(found.raw().unwrap(), "private").count(), 2);
    }

    #[test]
    fn a_name_is_wanted_in_every_flavour() {
        let mut names = Wanted::new();
        for name in ["task_struct", "task_struct___old", "file___x___y", "___odd"] {
            names.add(name.as_bytes());
        }
        for (name, wanted) in [
            ("task_struct", true),
            ("task_struct___new", true),
            ("task_struct_", false),
            ("task_structs", false),
            ("task", false),
            ("file", true),
            ("file___x", true),
            ("___other", true),
            ("__other", false),
            ("", false),
        ] {
            let strings = format!("{name}\0another\0");
            assert_eq!(names.find(strings.as_bytes()).is_some(), wanted, "{name}");
        }
        names.remove(&[b"task_struct", b"file"]);
        assert!(names.find(b"file\0").is_none() && names.find(b"___odd\0").is_some());
        names.remove(&[b""]);
        assert!(names.is_empty());
    }
}
