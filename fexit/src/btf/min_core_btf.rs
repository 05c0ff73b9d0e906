//! A minimal BTF for CO-RE: only the types that an object names.
//!
//! aya-obj searches all types of the kernel for each relocation. A kernel has 100,000 types; an object names a few. So
//! aya-obj gets a blob with only those types, the types that they embed, and the members whose names occur in a
//! relocation. Types behind a pointer are kept without members, because only their kind is used.
//!
//! Types that the kernel itself does not have are looked up in its modules. The ids of each module's types follow those
//! of the kernel, so a type is identified by its source and its id.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::core::CoreRelocation;
use super::core_spec;
use super::error::BtfError;
use super::format::{self, MAX_VLEN};
use super::kernel::Btf;
use super::name_filter::{NameFilter, PrefixFilter};
use super::names::Match;
use super::raw::{Kind, Raw, Type};

/// The names of the types in the relocations. `local` are the object's types.
///
/// `None` if one has no name: then all types of the kernel are candidates.
pub(crate) fn names<'a>(local: &'a Raw, relocations: &[CoreRelocation]) -> Option<Vec<&'a [u8]>> {
    let name = |relocation: &CoreRelocation| {
        let name = local.string(local.by_id(relocation.type_id)?.name_off())?;
        (!name.is_empty()).then_some(name)
    };
    relocations.iter().map(name).collect()
}

/// Builds BTF with the types of `kernel` that the relocations of an object with the types `local` use. Types that the
/// kernel does not have come from the first group of `modules` that has them.
///
/// The result is BTF without a base, with ids from 1; `None` if all types of the kernel are needed.
pub(crate) fn build(
    kernel: &Btf,
    modules: impl IntoIterator<Item = Result<Vec<Raw>, BtfError>>,
    local: &Raw,
    relocations: &[CoreRelocation],
) -> Result<Option<Vec<u8>>, BtfError> {
    let Some(names) = names(local, relocations) else {
        return Ok(None);
    };
    let mut names = NameFilter::new(names);
    let members = relocations
        .iter()
        .flat_map(|relocation| core_spec::members(local, relocation))
        .filter_map(|name| local.string(name).filter(|name| !name.is_empty()));
    let mut builder = Builder {
        sources: Sources {
            kernel: kernel.raw()?,
            modules: Vec::new(),
        },
        members: NameFilter::exactly(members),
        keep: BTreeMap::new(),
        queue: Vec::new(),
    };
    let found = builder.want_all(KERNEL, &kernel.types_named(&names)?);
    names.remove(&found);
    let mut groups = modules.into_iter();
    while !names.is_empty()
        && let Some(group) = groups.next()
    {
        let mut found = Vec::new();
        for module in group? {
            builder.sources.modules.push(module);
            let number = builder.sources.modules.len();
            let matches = builder.sources.matches(number, &names);
            found.extend(builder.want_all(number, &matches));
        }
        names.remove(&found);
    }
    builder.follow();
    Ok(Some(builder.finish()))
}

/// The source of a type: the kernel itself, or the module with that number.
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

    /// The source of the type that `source` refers to by this id: modules refer mostly to the kernel's.
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

    /// The strings from an offset of `source` on: a module shares the kernel's strings.
    fn named<'a>(&'a self, source: Source) -> impl Fn(u32) -> &'a [u8] + use<'a> {
        let (own, kernel) = (self.raw(source).strings(), self.kernel.strings());
        move |offset| {
            let named = own.from(offset);
            if named.is_empty() {
                kernel.from(offset)
            } else {
                named
            }
        }
    }

    /// The types of `source` with one of these names, and the name.
    fn matches<'n>(&self, source: Source, names: &NameFilter<'n>) -> Vec<Match<'n>> {
        let prefixes = PrefixFilter::of([names, &NameFilter::exactly([])]);
        let (strings, named) = (self.raw(source).strings(), self.named(source));
        let mut found = Vec::new();
        self.raw(source).for_each(|head| {
            if strings.may_be(head.name_off, &prefixes)
                && let Some(kind) = head.kind().filter(|kind| kind.is_data())
                && let Some(name) = names.find(named(head.name_off))
            {
                found.push((head.id, kind, name));
            }
            ControlFlow::Continue(())
        });
        found
    }
}

struct Builder<'a> {
    sources: Sources<'a>,
    /// The names of members in relocations.
    members: NameFilter<'a>,
    /// The kept types, and whether their members are kept.
    keep: BTreeMap<(Source, u32), bool>,
    queue: Vec<(Source, u32, bool)>,
}

impl Builder<'_> {
    /// Keeps these types of `source`, and returns their names.
    fn want_all<'n>(&mut self, source: Source, matches: &[Match<'n>]) -> Vec<&'n [u8]> {
        for (id, ..) in matches {
            self.keep_type(source, *id, true);
        }
        // A forward declaration is not the type itself.
        let defined = matches.iter().filter(|(_, kind, _)| *kind != Kind::Fwd);
        defined.map(|(.., name)| *name).collect()
    }

    fn keep_type(&mut self, source: Source, id: u32, with_members: bool) {
        if id == 0 {
            return;
        }
        let known = self.keep.get(&(source, id)).copied();
        if known.is_none() || (known == Some(false) && with_members) {
            self.keep.insert((source, id), with_members);
            self.queue.push((source, id, with_members));
        }
    }

    fn follow(&mut self) {
        while let Some((source, id, with_members)) = self.queue.pop() {
            let Some(t) = self.sources.raw(source).by_id(id) else {
                // A type of an unknown kind: references to it become void.
                self.keep.remove(&(source, id));
                continue;
            };
            let references: Vec<u32> = match t.kind {
                Kind::Struct | Kind::Union => {
                    self.kept(source, &t, with_members).map(|m| m[1]).collect()
                }
                _ => {
                    let words = t.reference_words().into_iter();
                    words.map(|word| t.word(word)).collect()
                }
            };
            let with_members = with_members && t.kind != Kind::Ptr;
            for id in references {
                self.keep_type(self.sources.owner(source, id), id, with_members);
            }
        }
    }

    /// The kept members of a struct or union: name, type and offset.
    ///
    /// Members with one of the names are kept, and members without a name. The last member is always kept, without its
    /// type, because aya-obj checks whether an array is the last member.
    fn kept<'t>(
        &'t self,
        source: Source,
        t: &Type<'t>,
        with_members: bool,
    ) -> impl Iterator<Item = [u32; 3]> + use<'t> {
        let t = *t;
        let count = if with_members { t.vlen() } else { 0 };
        let named = self.sources.named(source);
        (0..count).filter_map(move |i| {
            let [name, id, place] = [0, 1, 2].map(|word| t.extra(3 * i + word));
            let is_kept = name == 0 || self.members.find(named(name)).is_some();
            match is_kept {
                true => Some([name, id, place]),
                false => (i + 1 == count).then_some([name, 0, place]),
            }
        })
    }

    /// The record, with the ids of its source.
    fn record(&self, source: Source, t: &Type<'_>, with_members: bool) -> Vec<u32> {
        if !matches!(t.kind, Kind::Struct | Kind::Union) {
            return t.words().collect();
        }
        let mut record: Vec<u32> = t.words().take(3).collect();
        record.extend(self.kept(source, t, with_members).flatten());
        let count = u32::try_from(record.len() / 3 - 1).unwrap_or(0);
        record[1] = record[1] & !MAX_VLEN | count;
        record
    }

    fn finish(self) -> Vec<u8> {
        let ids: Vec<(Source, u32)> = self.keep.keys().copied().collect();
        let new_id = |owner, id| {
            let number = ids.binary_search(&(owner, id)).map_or(0, |at| at + 1);
            u32::try_from(number).unwrap_or(0)
        };
        let mut strings = Strings {
            sources: &self.sources,
            bytes: vec![0],
            known: BTreeMap::new(),
        };
        let mut types = Vec::new();
        for (&(source, id), &with_members) in &self.keep {
            let Some(t) = self.sources.raw(source).by_id(id) else {
                continue;
            };
            let mut record = self.record(source, &t, with_members);
            let vlen = format::vlen(record[1]);
            for word in t.kind.name_words(vlen) {
                record[word] = strings.add(source, record[word]);
            }
            for word in t.kind.reference_words(vlen) {
                let id = record[word];
                record[word] = new_id(self.sources.owner(source, id), id);
            }
            types.extend(record.iter().flat_map(|word| word.to_ne_bytes()));
        }
        assemble(&types, &strings.bytes)
    }
}

pub(super) fn assemble(types: &[u8], strings: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(24 + types.len() + strings.len());
    out.extend(format::MAGIC.to_ne_bytes());
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
    known: BTreeMap<(Source, u32), u32>,
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
