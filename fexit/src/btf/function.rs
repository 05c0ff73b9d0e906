//! A function's name to the type id that the kernel wants.

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::os::fd::OwnedFd;

use super::ambiguity::Ambiguity;
use super::glob::matches;
use super::raw::{self, Kind, Raw, Type};
#[cfg(fuzzing)]
use super::suggest;
use super::{Btf, BtfError, MODULE_BTF, diagnose};
use crate::sys;

/// A function of the kernel or of a module.
#[derive(Debug)]
pub(crate) struct FunctionId {
    pub(crate) btf_id: u32,
    /// The module that it is in; none for the kernel itself.
    pub(crate) module: Option<Module>,
    /// What it takes, if that is known: of the kernel's own functions it is not, for most loads never ask.
    pub(crate) model: Option<FuncModel>,
}

/// A loaded module.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// Its BTF.
    pub(crate) btf: OwnedFd,
}

/// What a function takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FuncModel {
    /// How many arguments.
    pub(crate) arguments: usize,
    /// Whether one of them is a struct or union by value.
    pub(crate) takes_struct: bool,
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

    /// What it takes; nothing, if that cannot be found out.
    pub(crate) fn model(&self) -> FuncModel {
        let of_kernel = || {
            let btf = Btf::from_sys_fs().ok()?;
            let scope = btf.scope().ok()?;
            Some(scope.model(&scope.by_id(self.btf_id)?))
        };
        self.model.or_else(of_kernel).unwrap_or_default()
    }
}

/// BTF together with the one that it goes on from, if it is split.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) base: Option<&'a Raw>,
    pub(super) own: &'a Raw,
}

impl<'a> Scope<'a> {
    pub(super) fn by_id(self, id: u32) -> Option<Type<'a>> {
        self.own.by_id(id).or_else(|| self.base?.by_id(id))
    }

    pub(super) fn string(self, offset: u32) -> Option<&'a [u8]> {
        self.own
            .string(offset)
            .or_else(|| self.base?.string(offset))
    }

    pub(super) fn is_named(self, offset: u32, name: &[u8]) -> bool {
        self.own.is_named(offset, name) || self.base.is_some_and(|base| base.is_named(offset, name))
    }

    /// The functions with this name that are in `own`.
    pub(super) fn functions(self, name: &str) -> Vec<Type<'a>> {
        let named =
            |t: &Type<'_>| t.kind == Kind::Func && self.is_named(t.name_off(), name.as_bytes());
        self.own.types().filter(named).collect()
    }

    pub(super) fn resolve(self, id: u32) -> Option<Type<'a>> {
        raw::resolve(id, |id| self.by_id(id))
    }

    /// What the function takes, as type ids.
    fn arguments(self, function: &Type<'_>) -> Vec<u32> {
        let proto = self
            .by_id(function.size_or_type())
            .filter(|t| t.kind == Kind::FuncProto);
        proto
            .map(|proto| proto.members().map(|(_, id)| id).collect())
            .unwrap_or_default()
    }

    pub(super) fn describe(self, function: &Type<'_>) -> FunctionId {
        FunctionId {
            btf_id: function.id,
            module: None,
            model: Some(self.model(function)),
        }
    }

    fn model(self, function: &Type<'_>) -> FuncModel {
        let arguments = self.arguments(function);
        let by_value = |id: &u32| {
            self.resolve(*id)
                .is_some_and(|t| matches!(t.kind, Kind::Struct | Kind::Union))
        };
        FuncModel {
            takes_struct: arguments.iter().any(by_value),
            arguments: arguments.len(),
        }
    }

    /// `f(int, struct path *)`, to tell functions of one name apart.
    fn signature(self, function: &Type<'_>) -> String {
        let name =
            |offset| String::from_utf8_lossy(self.string(offset).unwrap_or_default()).into_owned();
        let arguments: Vec<_> = self
            .arguments(function)
            .into_iter()
            .map(|id| self.type_name(id, 0))
            .collect();
        format!("{}({})", name(function.name_off()), arguments.join(", "))
    }

    fn type_name(self, id: u32, depth: usize) -> String {
        let Some(t) = self.by_id(id).filter(|_| depth < 16) else {
            return "void".to_owned();
        };
        let name =
            String::from_utf8_lossy(self.string(t.name_off()).unwrap_or_default()).into_owned();
        let inner = || self.type_name(t.size_or_type(), depth + 1);
        match t.kind {
            Kind::Struct => format!("struct {name}"),
            Kind::Union => format!("union {name}"),
            Kind::Enum | Kind::Enum64 => format!("enum {name}"),
            Kind::Fwd => format!("struct {name}"),
            Kind::Ptr => format!("{} *", inner()),
            Kind::Const => format!("const {}", inner()),
            Kind::Volatile | Kind::Restrict | Kind::TypeTag => inner(),
            Kind::FuncProto => "function".to_owned(),
            _ => name,
        }
    }
}

impl Btf {
    fn scope(&self) -> Result<Scope<'_>, BtfError> {
        Ok(Scope {
            base: None,
            own: self.raw()?,
        })
    }

    /// Finds the function that `name` (`function`, or `module:function`) stands for.
    ///
    /// A bare name is looked for in the kernel first, then in every loaded module.
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

    /// The type ids of the kernel's functions whose names match `pattern`, in which `*` stands for anything.
    ///
    /// Names that several functions have are left out: BTF does not tell which of them it means.
    pub(crate) fn functions_like(
        &self,
        pattern: &str,
        ambiguity: Ambiguity,
    ) -> Result<Vec<u32>, BtfError> {
        let scope = self.scope()?;
        scope.own.check()?;
        let name = |t: &Type<'_>| scope.string(t.name_off()).unwrap_or_default();
        let functions = scope.own.types().filter(|t| t.kind == Kind::Func);
        let found = functions
            .filter(|t| matches(pattern.as_bytes(), name(t)))
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
            ..scope.describe(&one)
        })
    }

    fn function_of_any_module(
        &self,
        name: &str,
        ambiguity: Ambiguity,
    ) -> Result<FunctionId, BtfError> {
        let mut found = Vec::new();
        for module in modules() {
            let raw = match self.module(&module) {
                Ok(raw) => raw,
                // It was unloaded since.
                Err(BtfError::UnknownModule { .. }) => continue,
                Err(error) => return Err(error),
            };
            let scope = Scope {
                base: Some(self.raw()?),
                own: &raw,
            };
            if !scope.functions(name).is_empty() {
                found.push(module);
            }
        }
        match found.as_slice() {
            [] => Err(diagnose::unknown_function(
                self.scope()?,
                name,
                None,
                (self.symbols(), self.kernel.is_running),
            )),
            [module] => self.module_function(module, name, ambiguity),
            several => Err(BtfError::AmbiguousName {
                name: name.to_owned(),
                candidates: several
                    .iter()
                    .map(|module| format!("{module}:{name}"))
                    .collect(),
            }),
        }
    }

    /// The types of loaded modules, in groups, as a program on a function of the module `first` looks for one: those of
    /// that module, then those of all others. Only the running kernel has modules.
    pub(crate) fn modules<'a>(
        &'a self,
        first: Option<&'a str>,
    ) -> impl Iterator<Item = Vec<Raw>> + 'a {
        let own = first.map(|name| vec![name.to_owned()]).into_iter();
        let others = iter::once_with(move || {
            let all = modules().into_iter();
            all.filter(|name| Some(name.as_str()) != first).collect()
        });
        let read = |names: Vec<String>| {
            let modules = names.into_iter().filter_map(|name| self.module(&name).ok());
            modules.collect()
        };
        let groups = self.kernel.is_running.then(|| own.chain(others));
        groups.into_iter().flatten().map(read)
    }

    /// The split BTF of a loaded module.
    pub(super) fn module(&self, name: &str) -> Result<Raw, BtfError> {
        let valid = !name.is_empty() && !name.contains(['/', '\0']) && name != ".." && name != ".";
        let data = valid
            .then(|| fs::read(format!("{MODULE_BTF}/{name}")))
            .transpose();
        match data {
            Ok(Some(data)) if name != "vmlinux" => Raw::parse_split(data, self.raw()?),
            _ => Err(diagnose::unknown_module(name)),
        }
    }
}

/// Fails if there are `candidates` for a name: then they are several.
fn is_unambiguous(name: &str, candidates: Vec<String>) -> Result<(), BtfError> {
    if candidates.is_empty() {
        return Ok(());
    }
    Err(BtfError::AmbiguousName {
        name: name.to_owned(),
        candidates,
    })
}

/// The one function of this name; an error when there are several, nothing when there is none.
fn the_only<'a>(
    scope: Scope<'a>,
    name: &str,
    place: &str,
    found: &[Type<'a>],
) -> Result<Option<Type<'a>>, BtfError> {
    match found {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => Err(BtfError::AmbiguousName {
            name: name.to_owned(),
            candidates: several
                .iter()
                .map(|f| format!("{} in {place}", scope.signature(f)))
                .collect(),
        }),
    }
}

/// Names of the modules that have BTF.
pub(super) fn modules() -> BTreeSet<String> {
    let entries = fs::read_dir(MODULE_BTF).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name != "vmlinux")
        .collect()
}

/// The kernel's handle of a module's BTF.
pub(super) fn module_fd(name: &str) -> Result<OwnedFd, BtfError> {
    let error = |error| BtfError::FileError {
        path: format!("{MODULE_BTF}/{name}").into(),
        error,
    };
    sys::kernel_btf(name)
        .map_err(error)?
        .ok_or_else(|| diagnose::unknown_module(name))
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
        |function| scope.describe(&function),
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
        // Often enough that there is an index.
        for name in ["filename_lookup", "f", ""].repeat(3) {
            let _ = self.only_function(name);
        }
        let _ = suggest::functions(scope, "filename_lookup", |_| true);
    }

    pub(crate) fn describe_all(own: &Raw, base: Option<&Raw>) {
        let scope = Scope { base, own };
        for function in own.types() {
            let _ = (scope.describe(&function), scope.signature(&function));
        }
    }
}
