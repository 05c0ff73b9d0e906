//! Functions and variables of the kernel and its modules that an object declares (`__ksym`).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use super::compare::Compare;
use super::error::BtfError;
use super::function::{module_fd, modules};
use super::kernel::Btf;
use super::raw::{Kind, Raw, Type};
use super::scope::Scope;

/// The kernel's function or variable for a declaration of the object.
#[derive(Debug)]
pub(crate) enum Symbol {
    /// None has that name.
    Absent,
    /// It has another type.
    Mismatch,
    /// It has this type id, in the kernel or in a module.
    Found { id: u32, module: Option<String> },
}

impl Btf {
    /// The function that an object declares with this name, and with the prototype `declared`, a type of the object, if
    /// any. A suffix after three underscores distinguishes declarations of one function.
    pub(crate) fn declared_function(
        &self,
        local: Option<&Raw>,
        name: &str,
        declared: u32,
    ) -> Result<Symbol, BtfError> {
        let name = name.split("___").next().unwrap_or(name);
        let raw = self.raw()?;
        let of_kernel = self.functions(name)?.first().and_then(|&id| raw.by_id(id));
        self.declared(local, declared, of_kernel, Kind::Func, name)
    }

    /// The variable that an object declares with this name and the type `declared`.
    pub(crate) fn declared_variable(
        &self,
        local: Option<&Raw>,
        name: &str,
        declared: u32,
    ) -> Result<Symbol, BtfError> {
        let is_it = |t: &Type<'_>| t.kind == Kind::Var && self.named(t.name_off(), name.as_bytes());
        let raw = self.raw()?;
        let of_kernel = raw.types().find(is_it);
        if of_kernel.is_none() {
            raw.check()?;
        }
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
                false => Symbol::Mismatch,
            }
        };
        if let Some(t) = of_kernel {
            let kernel = Scope {
                base: None,
                own: raw,
            };
            return Ok(judge(kernel, t, None));
        }
        for module in self.loaded_modules()? {
            let Some(own) = self.loaded_module(&module)? else {
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

    /// The modules with BTF; none of a kernel that does not run.
    pub(super) fn loaded_modules(&self) -> Result<BTreeSet<String>, BtfError> {
        let modules = self.kernel.is_running.then(modules).transpose();
        Ok(modules?.unwrap_or_default())
    }

    /// The kernel's BTF object of a module.
    pub(crate) fn module_handle(name: &str) -> Result<OwnedFd, BtfError> {
        module_fd(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::compile;

    fn types(source: &str) -> Raw {
        let source = format!("{source} SEC(\"fexit/f\") int p(void *ctx) {{ return 0; }}");
        Raw::parse(crate::elf::examine(&compile(&source)).unwrap().1.btf).unwrap()
    }

    fn prototype(local: &Raw) -> u32 {
        let is_it = |t: &Type<'_>| t.kind == Kind::Func && local.is_named(t.name_off(), b"f");
        local.types().find(is_it).unwrap().size_or_type()
    }

    #[test]
    fn function_with_the_declared_prototype_is_found() {
        let kernel = Btf::from(types(
            "struct task { int a; }; enum mode { A };
            struct task *f(struct task *t, enum mode m, long n) { return t; }",
        ));
        for (declared, found) in [
            (
                "struct task { long other; }; enum mode { B }; struct task *f(struct task *t, enum mode m, int n) { return t; }",
                true,
            ),
            (
                "struct task; enum mode { A }; struct task *f(struct task *t, enum mode m, long n) { return t; }",
                true,
            ),
            (
                "union task; enum mode { A }; union task *f(union task *t, enum mode m, long n) { return t; }",
                false,
            ),
            (
                "struct task; struct task *f(struct task *t, long n) { return t; }",
                false,
            ),
            (
                "struct task; enum mode { A }; void f(struct task *t, enum mode m, long n) { }",
                false,
            ),
            (
                "struct task; enum mode { A }; void *f(void *t, enum mode m, long n) { return t; }",
                false,
            ),
        ] {
            let local = types(declared);
            let symbol = |name, id| kernel.declared_function(Some(&local), name, id).unwrap();
            let id = prototype(&local);
            let what = symbol("f", id);
            assert_eq!(
                matches!(what, Symbol::Found { .. }),
                found,
                "{declared}: {what:?}"
            );
            assert_eq!(
                matches!(what, Symbol::Mismatch),
                !found,
                "{declared}: {what:?}"
            );
            assert!(matches!(symbol("g", id), Symbol::Absent));
            // Without a declared type, and with a suffix.
            assert!(matches!(symbol("f", 0), Symbol::Found { module: None, .. }));
            assert!(matches!(symbol("f___old", 0), Symbol::Found { .. }));
        }
    }

    #[test]
    fn variable_with_the_declared_type_is_found() {
        let kernel = Btf::from(types("int v; int f(void) { return v; }"));
        let local = types("int v; char *w; int f(void) { return v + !w; }");
        let declared = |name: &str| {
            let is_it =
                |t: &Type<'_>| t.kind == Kind::Var && local.is_named(t.name_off(), name.as_bytes());
            local.types().find(is_it).unwrap().size_or_type()
        };
        let symbol = |name, id| kernel.declared_variable(Some(&local), name, id).unwrap();
        assert!(matches!(symbol("v", declared("v")), Symbol::Found { .. }));
        assert!(matches!(symbol("v", declared("w")), Symbol::Mismatch));
        assert!(matches!(symbol("w", declared("w")), Symbol::Absent));
        assert!(matches!(symbol("f", declared("v")), Symbol::Absent));
    }
}
