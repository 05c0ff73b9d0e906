//! State that the programs of one object share.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::btf::{AmbiguityPolicy, Btf};
use crate::error::ProgramError;
use crate::maps::Map;
use crate::object::Object;

/// State that the programs of one object share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) object: Arc<Object>,
    /// In the order of `object.map_names`.
    pub(crate) maps: Vec<Map>,
    /// The types for CO-RE relocations, if they are not those that a program is loaded with.
    pub(crate) btf: Option<Btf>,
    pub(crate) log_level: u32,
    pub(crate) kconfig: Kconfig,
    pub(crate) ambiguity: AmbiguityPolicy,
    /// The running kernel's types, for a program that is loaded without types.
    pub(crate) running: OnceLock<Btf>,
}

impl Shared {
    /// The running kernel's types, read once.
    pub(super) fn running(&self) -> Result<Btf, ProgramError> {
        if let Some(btf) = self.running.get() {
            return Ok(btf.clone());
        }
        let btf = Btf::from_sys_fs()?;
        Ok(self.running.get_or_init(|| btf).clone())
    }
}

/// The kernel configuration values that an object reads.
#[derive(Debug)]
pub(crate) struct Kconfig {
    pub(super) given: Option<String>,
    pub(super) filled: OnceLock<Filled>,
}

impl Kconfig {
    /// With the configuration that was given to the loader, if any.
    pub(crate) fn new(given: Option<String>) -> Self {
        Self {
            given,
            filled: OnceLock::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Filled {
    pub(super) map: Map,
    /// The offset of each value by the number of its extern, or the reason why it has none.
    pub(super) offsets: BTreeMap<usize, Result<i32, String>>,
}
