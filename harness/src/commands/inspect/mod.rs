//! `harness inspect`: what an object requires of a kernel, without booting one.

mod model;
mod on_kernels;
mod text;

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::cli::inspect::InspectArgs;
use crate::commands::kernel_files;
use crate::initramfs::bpf_objects::{self, Targets};

/// Prints the requirements of the objects.
pub fn run(args: &InspectArgs) -> Result<u8> {
    let targets = Targets::parse(&args.targets)?;
    let objects = args.objects.iter().map(|path| bpf_objects::read(path));
    let objects = objects.collect::<Result<Vec<_>>>()?;
    targets.check(&objects)?;
    let kernels = kernel_files::read(&args.kernels, &args.store)?;
    // Without kernels, the architecture that they would have.
    let mut arches: BTreeSet<_> = kernels.iter().map(|kernel| kernel.kernel.arch).collect();
    if arches.is_empty() {
        arches.extend(args.store.arches());
    }
    let mut all = Vec::new();
    for (number, arch) in (0..objects.len()).flat_map(|n| arches.iter().map(move |arch| (n, *arch)))
    {
        all.push(model::of(&objects, number, &targets, &kernels, arch)?);
    }
    let text = if args.json {
        let mut answer = serde_json::json!({ "inspect_version": 1, "objects": all });
        if !kernels.is_empty() {
            let kernels: Vec<_> = kernels.iter().map(kernel_files::Files::info).collect();
            answer["kernels"] = serde_json::to_value(kernels)?;
        }
        serde_json::to_string_pretty(&answer)? + "\n"
    } else {
        all.iter().map(text::page).collect::<Vec<_>>().join("\n") + text::limits(&kernels)
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    Ok(0)
}
