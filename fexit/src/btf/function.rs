//! Lookup of a function by name: the type id that the kernel takes as the target.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::iter;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::ambiguity::Ambiguity;
use super::diagnose;
use super::error::{BtfError, MODULE_BTF};
use super::glob::matches;
use super::kernel::Btf;
use super::raw::{Kind, Raw, Type};
use super::scope::{FuncModel, Scope};
#[cfg(fuzzing)]
use super::suggest;
use crate::sys;

/// A function of the kernel or of a module.
#[derive(Debug)]
pub(crate) struct FunctionId {
    pub(crate) btf_id: u32,
    /// Its module; none for the kernel itself.
    pub(crate) module: Option<Module>,
    /// Its parameters and return value. Absent for the kernel's own functions: most loads do not use it.
    pub(crate) model: Option<FuncModel>,
}

/// A loaded module.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// Its BTF.
    pub(crate) btf: OwnedFd,
}

impl FunctionId {
    /// A function of the kernel's own.
    pub(crate) fn of_kernel(btf_id: u32) -> Self {
        Self {
            btf_id,
            module: None,
            model: None,
        }
    }

    /// Its parameters and return value; the default if the kernel's BTF cannot be read.
    pub(crate) fn model(&self) -> FuncModel {
        let of_kernel = || {
            let btf = Btf::from_sys_fs().ok()?;
            let scope = btf.scope().ok()?;
            Some(scope.model(&scope.by_id(self.btf_id)?))
        };
        self.model.or_else(of_kernel).unwrap_or_default()
    }
}

impl Btf {
    pub(super) fn scope(&self) -> Result<Scope<'_>, BtfError> {
        Ok(Scope {
            base: self.kernel.base.as_ref().map(Self::raw).transpose()?,
            own: self.raw()?,
        })
    }

    /// Finds the function called `name` (`function`, or `module:function`).
    ///
    /// A name without a module is looked up in the kernel, then in every loaded module.
    pub(crate) fn function(
        &self,
        name: &str,
        ambiguity: Ambiguity,
    ) -> Result<FunctionId, BtfError> {
        let name = match name.split_once(':') {
            Some(("vmlinux", function)) => function,
            Some((module, function)) => return self.module_function(module, function, ambiguity),
            None => name,
        };
        let Some(id) = self.only_function(name)? else {
            return self.function_of_any_module(name, ambiguity);
        };
        is_unambiguous(name, ambiguity.in_kernel(name, self))?;
        Ok(FunctionId::of_kernel(id))
    }

    /// The one function of the kernel that has this name.
    fn only_function(&self, name: &str) -> Result<Option<u32>, BtfError> {
        let found = self.functions(name)?;
        if let [] | [_] = found.as_slice() {
            return Ok(found.first().copied());
        }
        let scope = self.scope()?;
        let found: Vec<Type<'_>> = found.iter().filter_map(|&id| scope.by_id(id)).collect();
        the_only(scope, name, "the kernel", &found).map(|one| one.map(|t| t.id))
    }

    /// The type ids of the kernel's functions whose names match `glob`, in which `*` matches any characters.
    ///
    /// Ambiguous names are omitted: BTF does not tell which function it means.
    pub(crate) fn functions_like(
        &self,
        glob: &str,
        ambiguity: Ambiguity,
    ) -> Result<Vec<u32>, BtfError> {
        let scope = self.scope()?;
        scope.own.check()?;
        let name = |t: &Type<'_>| scope.string(t.name_off()).unwrap_or_default();
        let functions = scope.own.types().filter(|t| t.kind == Kind::Func);
        let found = functions
            .filter(|t| matches(glob.as_bytes(), name(t)))
            .filter(|t| !ambiguity.is_left_out(name(t)));
        Ok(found.map(|t| t.id).collect())
    }

    fn module_function(
        &self,
        module: &str,
        name: &str,
        ambiguity: Ambiguity,
    ) -> Result<FunctionId, BtfError> {
        let raw = self.module(module)?;
        let scope = Scope {
            base: Some(self.raw()?),
            own: &raw,
        };
        let place = diagnose::place(Some(module));
        let found = scope.functions(name);
        let one = the_only(scope, name, &place, &found)?.ok_or_else(|| {
            diagnose::unknown_function(
                scope,
                name,
                Some(module),
                (self.symbols(), self.kernel.is_running),
            )
        })?;
        is_unambiguous(name, ambiguity.in_module(module, name, self))?;
        Ok(FunctionId {
            module: Some(Module {
                name: module.to_owned(),
                btf: module_fd(module)?,
            }),
            ..of_scope(scope, &one)
        })
    }

    fn function_of_any_module(
        &self,
        name: &str,
        ambiguity: Ambiguity,
    ) -> Result<FunctionId, BtfError> {
        let has_it = |scope: Scope<'_>| !scope.functions(name).is_empty();
        match self.only_module(name, has_it)? {
            Some(module) => self.module_function(&module, name, ambiguity),
            None => Err(diagnose::unknown_function(
                self.scope()?,
                name,
                None,
                (self.symbols(), self.kernel.is_running),
            )),
        }
    }

    /// The one loaded module for whose types `has_it` holds.
    pub(super) fn only_module(
        &self,
        name: &str,
        has_it: impl Fn(Scope<'_>) -> bool,
    ) -> Result<Option<String>, BtfError> {
        let mut found = Vec::new();
        for module in modules()? {
            let Some(raw) = self.loaded_module(&module)? else {
                continue;
            };
            let scope = Scope {
                base: Some(self.raw()?),
                own: &raw,
            };
            if has_it(scope) {
                found.push(module);
            }
        }
        if found.len() > 1 {
            return Err(BtfError::AmbiguousName {
                name: name.to_owned(),
                candidates: found
                    .iter()
                    .map(|module| format!("{module}:{name}"))
                    .collect(),
            });
        }
        Ok(found.pop())
    }

    /// The types of loaded modules, in two groups: those of the module `first`, then those of all others. Only the
    /// running kernel has modules.
    pub(crate) fn modules<'a>(
        &'a self,
        first: Option<&'a str>,
    ) -> impl Iterator<Item = Result<Vec<Raw>, BtfError>> + 'a {
        let own = first.map(|name| Ok(vec![name.to_owned()])).into_iter();
        let others = iter::once_with(move || {
            let all = modules()?.into_iter();
            Ok(all.filter(|name| Some(name.as_str()) != first).collect())
        });
        let read = |names: Result<Vec<String>, BtfError>| {
            let names = names?.into_iter();
            names
                .filter_map(|name| self.loaded_module(&name).transpose())
                .collect()
        };
        let groups = self.kernel.is_running.then(|| own.chain(others));
        groups.into_iter().flatten().map(read)
    }

    /// The split BTF of a module; none if it has no BTF, or was unloaded meanwhile.
    pub(super) fn loaded_module(&self, name: &str) -> Result<Option<Raw>, BtfError> {
        match self.module(name) {
            Err(BtfError::UnknownModule { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The split BTF of a loaded module.
    pub(super) fn module(&self, name: &str) -> Result<Raw, BtfError> {
        match read_module(&sys::kernel_file(MODULE_BTF), name)? {
            Some(data) => Raw::parse_split(data, self.raw()?),
            None => Err(diagnose::unknown_module(name)),
        }
    }
}

/// Fails with the `candidates` for an ambiguous name; there are none for a unique name.
fn is_unambiguous(name: &str, candidates: Vec<String>) -> Result<(), BtfError> {
    if candidates.is_empty() {
        return Ok(());
    }
    Err(BtfError::AmbiguousName {
        name: name.to_owned(),
        candidates,
    })
}

/// The function with this name. An error if the name is ambiguous, none if there is no such function.
fn the_only<'a>(
    scope: Scope<'a>,
    name: &str,
    place: &str,
    found: &[Type<'a>],
) -> Result<Option<Type<'a>>, BtfError> {
    match found {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        found => Err(BtfError::AmbiguousName {
            name: name.to_owned(),
            candidates: found
                .iter()
                .map(|f| format!("{} in {place}", scope.signature(f)))
                .collect(),
        }),
    }
}

/// Names of the modules that have BTF.
pub(super) fn modules() -> Result<BTreeSet<String>, BtfError> {
    let failed = |error| file_error(Path::new(MODULE_BTF), error);
    let mut names = BTreeSet::new();
    let entries = match fs::read_dir(sys::kernel_file(MODULE_BTF)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.remove("vmlinux");
    Ok(names)
}

/// The BTF of the module with this name in `directory`; none if there is no such file. Other failures are errors.
fn read_module(directory: &Path, name: &str) -> Result<Option<Vec<u8>>, BtfError> {
    if ["", ".", "..", "vmlinux"].contains(&name) || name.contains(['/', '\0']) {
        return Ok(None);
    }
    let path = directory.join(name);
    match fs::read(&path) {
        Ok(data) => Ok(Some(data)),
        // `ENODEV`: the module was unloaded after its file was opened.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(None),
        Err(error) => Err(file_error(&path, error)),
    }
}

fn file_error(path: &Path, error: io::Error) -> BtfError {
    BtfError::FileError {
        path: path.to_owned(),
        error,
    }
}

/// The kernel's BTF object of a module.
pub(super) fn module_fd(name: &str) -> Result<OwnedFd, BtfError> {
    sys::kernel_btf(name)
        .map_err(|error| file_error(&Path::new(MODULE_BTF).join(name), error))?
        .ok_or_else(|| diagnose::unknown_module(name))
}

/// The function, without a module.
fn of_scope(scope: Scope<'_>, function: &Type<'_>) -> FunctionId {
    FunctionId {
        btf_id: function.id,
        module: None,
        model: Some(scope.model(function)),
    }
}

/// The function with this id in a program's BTF.
pub(crate) fn describe(raw: &Raw, id: u32) -> FunctionId {
    let scope = Scope {
        base: None,
        own: raw,
    };
    scope.by_id(id).map_or_else(
        || FunctionId {
            model: Some(FuncModel::default()),
            ..FunctionId::of_kernel(id)
        },
        |function| of_scope(scope, &function),
    )
}

#[cfg(fuzzing)]
impl Btf {
    pub(crate) fn ask_everything(&self) {
        let Ok(scope) = self.scope() else {
            return;
        };
        Self::describe_all(scope.own, None);
        for feature in crate::Feature::ALL {
            let _ = feature.is_in(self);
        }
        // Often enough to build the index.
        for name in ["filename_lookup", "f", ""].repeat(3) {
            let _ = self.only_function(name);
        }
        let _ = suggest::functions(scope, "filename_lookup", |_| true);
    }

    pub(crate) fn describe_all(own: &Raw, base: Option<&Raw>) {
        let scope = Scope { base, own };
        for function in own.types() {
            let _ = (of_scope(scope, &function), scope.signature(&function));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_module_btf_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name| read_module(directory.path(), name);
        fs::write(directory.path().join("nf_conntrack"), "types").unwrap();
        assert_eq!(
            read("nf_conntrack").unwrap().as_deref(),
            Some(&b"types"[..])
        );
        for absent in ["no_such_module", "vmlinux", "", "..", "a/b", "a\0b"] {
            assert!(read(absent).unwrap().is_none(), "{absent:?}");
        }
        // Root can read every file, but not a directory.
        fs::create_dir(directory.path().join("unreadable")).unwrap();
        let error = read("unreadable").unwrap_err();
        assert!(matches!(&error, BtfError::FileError { path, .. } if path.ends_with("unreadable")));
    }
}
