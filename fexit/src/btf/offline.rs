//! What BTF of a kernel that is not running lists. Nothing here makes a system call.

use super::error::{BtfError, TRACEPOINT};
use super::glob::matches;
use super::kernel::{Btf, Kernel};
use super::raw::{Kind, Raw, Type};
use super::suggest;

/// A function that BTF lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ListedFunction {
    /// Its name.
    pub name: String,
    /// Its declaration in C, without the semicolon.
    pub prototype: String,
}

impl Btf {
    /// Reads split BTF, as modules have it; `base` is that of the kernel.
    ///
    /// # Errors
    ///
    /// [`BtfError::Malformed`] when it is not BTF, or truncated.
    pub fn parse_split(data: &[u8], base: &Self) -> Result<Self, BtfError> {
        let raw = Raw::parse_split(data.to_vec(), base.raw()?)?;
        Ok(Self::from(Kernel {
            raw: raw.into(),
            base: Some(base.clone()),
            ..Kernel::default()
        }))
    }

    /// The functions whose names match one of `globs`, in which `*` matches any characters, in the order of their names.
    /// A name that several functions have is listed several times. Of split BTF, only the module's own.
    ///
    /// # Errors
    ///
    /// [`BtfError::Malformed`], or why it cannot be read.
    pub fn list_functions(&self, globs: &[&str]) -> Result<Vec<ListedFunction>, BtfError> {
        let scope = self.scope()?;
        scope.own.check()?;
        let name = |t: &Type<'_>| scope.string(t.name_off()).unwrap_or_default();
        let is_wanted = |t: &Type<'_>| {
            t.kind == Kind::Func && globs.iter().any(|glob| matches(glob.as_bytes(), name(t)))
        };
        let functions = scope.own.types().filter(is_wanted);
        let mut found: Vec<ListedFunction> = functions
            .map(|t| ListedFunction {
                name: String::from_utf8_lossy(name(&t)).into_owned(),
                prototype: scope.prototype(&t),
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// Whether any function matches.
    pub(crate) fn lists_any(&self, glob: &str) -> Result<bool, BtfError> {
        let scope = self.scope()?;
        scope.own.check()?;
        let is_it = |t: Type<'_>| {
            let name = || scope.string(t.name_off()).unwrap_or_default();
            t.kind == Kind::Func && matches(glob.as_bytes(), name())
        };
        Ok(scope.own.types().any(is_it))
    }

    /// Whether it has a type of this name, of any kind.
    pub(crate) fn has_type(&self, name: &str) -> Result<bool, BtfError> {
        let raw = self.raw()?;
        raw.check()?;
        let is_it = |t: Type<'_>| {
            !matches!(t.kind, Kind::Func | Kind::Fwd | Kind::Var)
                && raw.is_named(t.name_off(), name.as_bytes())
        };
        Ok(raw.types().any(is_it))
    }

    /// Whether it has the type of the arguments of this tracepoint.
    pub(crate) fn has_tracepoint(&self, name: &str) -> Result<bool, BtfError> {
        self.has_type(&format!("{TRACEPOINT}{name}"))
    }

    /// Whether it has types of tracepoints: from 5.5 on.
    pub(crate) fn has_tracepoints(&self) -> Result<bool, BtfError> {
        let raw = self.raw()?;
        let is_one = |t: Type<'_>| {
            let name = || raw.string(t.name_off()).unwrap_or_default();
            t.kind == Kind::Typedef && name().starts_with(TRACEPOINT.as_bytes())
        };
        Ok(raw.types().any(is_one))
    }

    /// Names of functions that are like this one, best first.
    pub fn similar_functions(&self, name: &str) -> Vec<String> {
        let scope = self.scope();
        scope.map_or_else(|_| Vec::new(), |s| suggest::functions(s, name, |_| true))
    }

    /// Names of tracepoints that are like this one.
    pub(crate) fn similar_tracepoints(&self, name: &str) -> Vec<String> {
        let scope = self.scope();
        scope.map_or_else(
            |_| Vec::new(),
            |s| suggest::tracepoints(s, name, TRACEPOINT),
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::compile;
    use crate::{Btf, Endianness};

    #[test]
    fn functions_are_listed_with_their_prototypes_in_c() {
        let source = "
            struct file; struct path { int x; }; typedef unsigned int mode_t; enum color { RED };
            typedef int (*actor)(struct file *, const char *, int);
            SEC(\"x\") int open_file(const struct path *path, struct file *const f, mode_t mode) { return 0; }
            SEC(\"x\") void *open_all(int (*each)(struct file *file, void *), enum color c, actor a) { return 0; }
            SEC(\"x\") void close_file(char **names, int (*table)[4]) { }
            SEC(\"x\") unsigned long count(void) { return 0; }";
        let btf = crate::elf::examine(&compile(source)).unwrap().1.btf;
        let btf = Btf::parse(&btf, Endianness::default()).unwrap();
        let list = |globs: &[&str]| -> Vec<String> {
            let found = btf.list_functions(globs).unwrap().into_iter();
            found.map(|function| function.prototype).collect()
        };
        assert_eq!(
            list(&["open_*", "close_file"]),
            [
                "void close_file(char **names, int (*table)[4])",
                "void *open_all(int (*each)(struct file *, void *), enum color c, actor a)",
                "int open_file(const struct path *path, struct file *const f, mode_t mode)",
            ]
        );
        assert_eq!(list(&["count"]), ["unsigned long count(void)"]);
        assert!(list(&["nothing*"]).is_empty());
        assert!(btf.lists_any("open_*").unwrap() && !btf.lists_any("none").unwrap());
        assert!(btf.has_type("path").unwrap() && !btf.has_type("open_file").unwrap());
        assert_eq!(btf.similar_functions("open_fil")[0], "open_file");
    }
}
