//! Object files that a user hands in. Nobody vouches for them: they are bounded, read by one reader, and never trusted.

mod plan;
mod target;

pub use plan::{ObjectArgs, Planned, Programs};
pub use target::{Target, Targets};

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fexit::Ebpf;

use crate::support::error::usage;

/// A BPF object of this size is no BPF object. It has to fit into a VM of 512 MiB several times over.
const MAX_BYTES: u64 = 32 << 20;

/// One object file.
#[derive(Debug)]
pub struct Object {
    /// As it was given.
    pub path: PathBuf,
    /// The file.
    pub bytes: Vec<u8>,
    /// What was read from it.
    pub parsed: Ebpf,
}

/// Reads an object file. Whatever is wrong with it is the user's to mend.
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

/// What the object with this number is called in the VM.
fn file_name(number: usize) -> String {
    format!("{number}.bpf.o")
}

/// What a section names.
fn section_target(section: &str) -> Option<&str> {
    let (_, target) = section.split_once('/')?;
    (!target.is_empty()).then_some(target)
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    // A pipe or a device would be read for ever.
    anyhow::ensure!(fs::metadata(path)?.is_file(), "it is not a file");
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    anyhow::ensure!(
        bytes.len() as u64 <= MAX_BYTES,
        "it is larger than {} MiB, which no BPF object is",
        MAX_BYTES >> 20
    );
    Ok(bytes)
}
