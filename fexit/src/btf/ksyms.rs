//! Functions and variables of the kernel and its modules that an object declares (`__ksym`).

use super::compare::Compare;
use super::function::{Scope, module_fd, modules};
use super::raw::{Kind, Raw, Type};
use super::wanted::{Wanted, essential};
use super::{Btf, BtfError};
use std::os::fd::OwnedFd;

/// What the kernel has of a name that an object declares.
#[derive(Debug)]
pub(crate) enum Symbol {
    /// Nothing of that name.
    Absent,
    /// Something of another type.
    Different,
    /// The type with this id, of the kernel or of a module.
    Found { id: u32, module: Option<String> },
}

impl Btf {
    /// The function that an object declares under this name, with the prototype `declared` of its own types, if any.
    /// What stands behind three underscores tells several declarations of one function apart.
    pub(crate) fn declared_function(
        &self,
        local: Option<&Raw>,
        name: &str,
        declared: u32,
    ) -> Result<Symbol, BtfError> {
        let name = name.split("___").next().unwrap_or(name);
        let raw = self.raw()?;
        let of_kernel = self.function_id(name).and_then(|id| raw.by_id(id));
        self.declared(local, declared, of_kernel, Kind::Func, name)
    }

    /// The variable that an object declares under this name, with the type `declared` of its own.
    pub(crate) fn declared_variable(
        &self,
        local: Option<&Raw>,
        name: &str,
        declared: u32,
    ) -> Result<Symbol, BtfError> {
        let is_it = |t: &Type<'_>| t.kind == Kind::Var && self.named(t.name_off(), name.as_bytes());
        let of_kernel = self.raw()?.types().find(is_it);
        self.declared(local, declared, of_kernel, Kind::Var, name)
    }

    fn named(&self, offset: u32, name: &[u8]) -> bool {
        self.raw().is_ok_and(|raw| raw.is_named(offset, name))
    }

    fn declared(
        &self,
        local: Option<&Raw>,
        declared: u32,
        of_kernel: Option<Type<'_>>,
        kind: Kind,
        name: &str,
    ) -> Result<Symbol, BtfError> {
        let raw = self.raw()?;
        let judge = |kernel: Scope<'_>, t: Type<'_>, module: Option<&str>| {
            let fits = local.filter(|_| declared != 0).is_none_or(|local| {
                let local = Scope {
                    base: None,
                    own: local,
                };
                Compare { local, kernel }.are_compatible(declared, t.size_or_type())
            });
            let module = module.map(str::to_owned);
            match fits {
                true => Symbol::Found { id: t.id, module },
                false => Symbol::Different,
            }
        };
        if let Some(t) = of_kernel {
            let kernel = Scope {
                base: None,
                own: raw,
            };
            return Ok(judge(kernel, t, None));
        }
        for module in self.loaded_modules() {
            let Ok(own) = self.module(&module) else {
                continue;
            };
            let scope = Scope {
                base: Some(raw),
                own: &own,
            };
            let is_it =
                |t: &Type<'_>| t.kind == kind && scope.is_named(t.name_off(), name.as_bytes());
            if let Some(t) = own.types().find(is_it) {
                return Ok(judge(scope, t, Some(&module)));
            }
        }
        Ok(Symbol::Absent)
    }

    fn loaded_modules(&self) -> impl Iterator<Item = String> {
        let modules = self.kernel.is_running.then(modules);
        modules.into_iter().flatten()
    }

    /// The kernel's handle of a module's BTF.
    pub(crate) fn module_handle(name: &str) -> Result<OwnedFd, BtfError> {
        module_fd(name)
    }

    /// Whether the kernel has a type that has all that the object's type has; if it has none of that name, a module,
    /// first of all `first`.
    pub(crate) fn has_match(
        &self,
        local: &Raw,
        id: u32,
        first: Option<&str>,
    ) -> Result<bool, BtfError> {
        let Some(wanted) = local.by_id(id) else {
            return Ok(false);
        };
        let name = local.string(wanted.name_off()).unwrap_or_default();
        let local = Scope {
            base: None,
            own: local,
        };
        let raw = self.raw()?;
        let kernel = Scope {
            base: None,
            own: raw,
        };
        let found = self.types_named(&Wanted::new([name]))?;
        let found = found.into_iter().map(|(id, kind, _)| (id, kind));
        if let Some(answer) = any_matches(local, kernel, &wanted, found.collect()) {
            return Ok(answer);
        }
        for group in self.modules(first) {
            let mut answer = None;
            for own in &group {
                let module = Scope {
                    base: Some(raw),
                    own,
                };
                let named = |t: &Type<'_>| {
                    essential(module.string(t.name_off()).unwrap_or_default()) == essential(name)
                };
                let found = own.types().filter(named).map(|t| (t.id, t.kind)).collect();
                answer = match any_matches(local, module, &wanted, found) {
                    Some(true) => return Ok(true),
                    other => answer.or(other),
                };
            }
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
        Ok(false)
    }
}

/// Whether one of these types matches; nothing if none is even of the kind.
fn any_matches(
    local: Scope<'_>,
    kernel: Scope<'_>,
    wanted: &Type<'_>,
    found: Vec<(u32, Kind)>,
) -> Option<bool> {
    let is_enum = |kind| matches!(kind, Kind::Enum | Kind::Enum64);
    let alike = |kind: Kind| kind == wanted.kind || is_enum(kind) && is_enum(wanted.kind);
    let mut alike = found
        .into_iter()
        .filter(|(_, kind)| alike(*kind))
        .peekable();
    alike.peek()?;
    let compare = Compare { local, kernel };
    Some(alike.any(|(id, _)| compare.matches(wanted.id, id)))
}
