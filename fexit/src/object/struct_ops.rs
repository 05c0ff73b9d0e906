//! What a program of type `struct_ops` implements: by the variables of the object, and the kernel's types.

use super::Object;
use crate::btf::raw::Raw;
use crate::btf::struct_ops::{Implemented, Misfit, StructOps};
use crate::btf::{Btf, BtfError};

impl Object {
    /// The variables that name the program.
    fn variables<'a>(&'a self, program: &'a str) -> impl Iterator<Item = &'a StructOps> {
        let all = self.extra.struct_ops.iter();
        all.filter(move |variable| variable.programs.values().any(|name| name == program))
    }

    /// The struct and the member that the program implements, as `tcp_congestion_ops.init`; none if no variable names it.
    pub(crate) fn struct_member(&self, program: &str) -> Option<String> {
        let variable = self.variables(program).next()?;
        let local = Raw::parse(self.extra.btf.clone()).ok()?;
        let member = variable.member_name(&local, program)?;
        Some(format!("{}.{member}", variable.struct_name(&local)))
    }

    /// What the program implements in this kernel; none if no variable names it. All variables that name it must agree.
    pub(crate) fn struct_ops(
        &self,
        program: &str,
        btf: &Btf,
    ) -> Result<Option<Result<Implemented, Misfit>>, BtfError> {
        let local = Raw::parse(self.extra.btf.clone())?;
        let mut found: Option<Implemented> = None;
        for variable in self.variables(program) {
            let implemented = match btf.struct_ops(&local, variable, program)? {
                Ok(implemented) => implemented,
                Err(misfit) => return Ok(Some(Err(misfit))),
            };
            if found.as_ref().is_some_and(|other| *other != implemented) {
                let reason = format!(
                    "variable `{}` sets it for another member or struct than the variable before",
                    variable.name
                );
                return Ok(Some(Err(Misfit::Different(reason))));
            }
            found = Some(implemented);
        }
        Ok(found.map(Ok))
    }
}
