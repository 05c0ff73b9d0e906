//! Lookup of a tracepoint by name: the type id that the kernel takes as the target.

use super::diagnose;
use super::error::{BtfError, TRACEPOINT};
use super::function::{FunctionId, Module, module_fd};
use super::kernel::Btf;
use super::raw::Kind;
use super::scope::{FuncModel, Scope};

impl Btf {
    /// Finds the type of the tracepoint called `name` (`tracepoint`, or `module:tracepoint`).
    ///
    /// A name without a module is looked up in the kernel, then in every loaded module.
    pub(crate) fn tracepoint(&self, name: &str) -> Result<FunctionId, BtfError> {
        let name = match name.split_once(':') {
            Some(("vmlinux", tracepoint)) => tracepoint,
            Some((module, tracepoint)) => return self.module_tracepoint(module, tracepoint),
            None => name,
        };
        let scope = self.scope()?;
        if let Some(id) = type_id(scope, name) {
            return Ok(FunctionId {
                model: Some(FuncModel::default()),
                ..FunctionId::of_kernel(id)
            });
        }
        scope.own.check()?;
        match self.only_module(name, |scope| type_id(scope, name).is_some())? {
            Some(module) => self.module_tracepoint(&module, name),
            None => Err(diagnose::unknown_tracepoint(scope, name, None)),
        }
    }

    fn module_tracepoint(&self, module: &str, name: &str) -> Result<FunctionId, BtfError> {
        let raw = self.module(module)?;
        let scope = Scope {
            base: Some(self.raw()?),
            own: &raw,
        };
        let id = type_id(scope, name)
            .ok_or_else(|| diagnose::unknown_tracepoint(scope, name, Some(module)))?;
        Ok(FunctionId {
            btf_id: id,
            module: Some(Module {
                name: module.to_owned(),
                btf: module_fd(module)?,
            }),
            model: Some(FuncModel::default()),
        })
    }
}

/// The typedef `btf_trace_NAME`.
fn type_id(scope: Scope<'_>, name: &str) -> Option<u32> {
    let type_name = format!("{TRACEPOINT}{name}");
    let mut typedefs = scope.own.types().filter(|t| t.kind == Kind::Typedef);
    typedefs
        .find(|t| scope.is_named(t.name_off(), type_name.as_bytes()))
        .map(|found| found.id)
}
