//! `harness inspect`: what an object wants of a kernel, told without one.

mod facts;
mod text;

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::cli::inspect::InspectArgs;
use crate::initramfs::bpf_objects;
use crate::support::error::usage;

/// Prints what the objects want.
pub fn run(args: &InspectArgs) -> Result<u8> {
    let mut all = Vec::new();
    for path in &args.objects {
        let object = bpf_objects::read(path)?;
        let facts =
            facts::of(&object).map_err(|error| usage(format!("{}: {error}", path.display())))?;
        all.push(facts);
    }
    let text = if args.json {
        let facts = serde_json::json!({ "inspect_version": 1, "objects": all });
        serde_json::to_string_pretty(&facts)? + "\n"
    } else {
        all.iter().map(text::page).collect::<Vec<_>>().join("\n")
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    Ok(0)
}
