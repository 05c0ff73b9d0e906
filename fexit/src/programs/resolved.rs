//! A resolved target.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::btf::FunctionId;

/// A target as `BPF_PROG_LOAD` takes it.
pub(super) struct Resolved {
    pub(super) name: String,
    pub(super) function: FunctionId,
    /// The program, or the BTF of the module, that the function belongs to.
    pub(super) owner: Option<OwnedFd>,
    pub(super) is_program: bool,
    /// The module that the function belongs to.
    pub(super) module: Option<String>,
    /// The type ids of many functions.
    pub(super) many: Vec<u32>,
}

impl Resolved {
    /// A function of the kernel itself.
    pub(super) fn of_kernel(name: &str, function: FunctionId) -> Self {
        Self {
            name: name.to_owned(),
            function,
            owner: None,
            is_program: false,
            module: None,
            many: Vec::new(),
        }
    }

    /// The program that the function belongs to, if any.
    pub(super) fn owning_program(&self) -> Option<BorrowedFd<'_>> {
        self.owner
            .as_ref()
            .filter(|_| self.is_program)
            .map(AsFd::as_fd)
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved")
            .field("name", &self.name)
            .field("btf_id", &self.function.btf_id)
            .field("owner", &self.owner)
            .field("functions", &self.many.len().max(1))
            .finish_non_exhaustive()
    }
}
