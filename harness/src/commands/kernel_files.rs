//! What the files of a kernel say of it: its BTF and its configuration. Nothing is booted.

use std::fs;

use anyhow::{Result, anyhow};
use fexit::Btf;
use serde::Serialize;

use crate::kernels::{Kernel, Kernels, Options, operations};
use crate::report::terminal::Board;

/// A kernel whose files are read.
pub(super) struct Files {
    pub(super) requested: String,
    pub(super) kernel: Kernel,
    /// The error has the reason why there is none.
    pub(super) btf: Result<Btf, String>,
    pub(super) config: Option<String>,
}

/// A kernel, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct KernelInfo {
    kernel: String,
    release: String,
    /// Whether it has BTF; without it nothing can be told.
    btf: bool,
    /// Whether its configuration is in the cache.
    config: bool,
}

/// Downloads the kernels that are not in the cache, and reads the types of all.
pub(super) fn read(names: &[String], options: &Options) -> Result<Vec<Files>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let kernels = Kernels::open(options.clone())?;
    let board = Board::new(false);
    let fetched = operations::fetch(&kernels, names, &board.line("kernels"))?;
    let files = |(requested, kernel): (String, Result<Kernel>)| {
        let kernel = kernel.map_err(|error| anyhow!("{requested}: {error:#}"))?;
        let config = kernel.config.as_ref();
        Ok(Files {
            requested,
            btf: kernels.btf(&kernel).map_err(|error| format!("{error:#}")),
            config: config.and_then(|path| fs::read_to_string(path).ok()),
            kernel,
        })
    };
    fetched.into_iter().map(files).collect()
}

impl Files {
    pub(super) fn info(&self) -> KernelInfo {
        KernelInfo {
            kernel: self.requested.clone(),
            release: self.kernel.release.clone(),
            btf: self.btf.is_ok(),
            config: self.config.is_some(),
        }
    }
}
