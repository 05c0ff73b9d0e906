//! The user's BPF objects. They are untrusted: their size is limited, and one parser reads them.

mod args;
mod commands;
mod plan;
mod select;
mod target;

pub use args::ObjectArgs;
pub use plan::{COMMAND, Planned, Programs};
pub use target::{Target, Targets};

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fexit::Ebpf;

use crate::support::error::usage;

/// The limit for an object. The VM has 512 MiB and needs several copies.
const MAX_BYTES: u64 = 32 << 20;

/// One object file.
#[derive(Debug)]
pub struct Object {
    /// The path that the user gave.
    pub path: PathBuf,
    /// Its contents.
    pub bytes: Vec<u8>,
    /// The parsed object.
    pub parsed: Ebpf,
}

/// Reads an object file. Every error is a usage error.
pub fn read(path: &Path) -> Result<Object> {
    let bytes = bytes(path).with_context(|| format!("cannot read the object {}", path.display()));
    let bytes = bytes.map_err(|error| usage(format!("{error:#}")))?;
    let parsed =
        Ebpf::load(&bytes).map_err(|error| usage(format!("{}: {error}", path.display())))?;
    Ok(Object {
        path: path.to_owned(),
        bytes,
        parsed,
    })
}

/// The name of the object with this number in the VM.
fn file_name(number: usize) -> String {
    format!("{number}.bpf.o")
}

/// The target in the name of a section.
fn section_target(section: &str) -> Option<&str> {
    let (_, target) = section.split_once('/')?;
    (!target.is_empty()).then_some(target)
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    // A pipe or a device may never end.
    anyhow::ensure!(fs::metadata(path)?.is_file(), "it is not a file");
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    anyhow::ensure!(
        bytes.len() as u64 <= MAX_BYTES,
        "it is larger than {} MiB, the limit for a BPF object",
        MAX_BYTES >> 20
    );
    Ok(bytes)
}
