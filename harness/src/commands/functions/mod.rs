//! `harness functions`: which kernels have a function, and its signatures.

mod table;
mod text;

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, bail};
use fexit::{Btf, ListedFunction};

use self::table::{Seen, Table};
use crate::cli::functions::FunctionsArgs;
use crate::commands::kernel_files::{self, Files};
use crate::kernels::of_module;

/// Prints the functions. Fails if no kernel has one that matches.
pub fn run(args: &FunctionsArgs) -> Result<u8> {
    let kernels = kernel_files::read(&args.all.kernels, &args.store)?;
    let mut table = Table::new(kernels.iter().map(|kernel| kernel.requested.clone()));
    for (module, globs) in by_module(&args.patterns) {
        let seen = kernels.iter().map(|kernel| listed(kernel, module, &globs));
        table.add(module, &seen.collect::<Result<Vec<_>>>()?);
    }
    if table.is_empty() {
        bail!(
            "no kernel lists a function that matches {}{}",
            args.patterns.join(" or "),
            similar(&kernels, &args.patterns)
        );
    }
    let text = if args.json {
        let infos: Vec<_> = kernels.iter().map(Files::info).collect();
        let answer = serde_json::json!({
            "functions_version": 1,
            "kernels": infos,
            "functions": table.functions(),
        });
        serde_json::to_string_pretty(&answer)? + "\n"
    } else {
        text::page(&table)
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    Ok(0)
}

/// The patterns of the kernel itself, and those of each module.
fn by_module(patterns: &[String]) -> Vec<(Option<&str>, Vec<&str>)> {
    let mut all: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
    for pattern in patterns {
        let (module, glob) = match pattern.split_once(':') {
            None | Some(("vmlinux", _)) => (None, pattern.trim_start_matches("vmlinux:")),
            Some((module, glob)) => (Some(module), glob),
        };
        match all.iter_mut().find(|(other, _)| *other == module) {
            Some((_, globs)) => globs.push(glob),
            None => all.push((module, vec![glob])),
        }
    }
    all
}

/// The matching functions of a kernel, or of its module; unknown if it has no BTF of that.
fn listed(kernel: &Files, module: Option<&str>, globs: &[&str]) -> Result<Seen> {
    let list =
        |btf: &Btf| -> Result<Option<Vec<ListedFunction>>> { Ok(Some(btf.list_functions(globs)?)) };
    match (&kernel.btf, module) {
        (Err(_), _) => Ok(None),
        (Ok(btf), None) => list(btf),
        (Ok(btf), Some(name)) => match of_module(&kernel.kernel, btf, name)? {
            Some(module) => list(&module),
            None => Ok(None),
        },
    }
}

fn similar(kernels: &[Files], patterns: &[String]) -> String {
    let newest = kernels
        .iter()
        .rev()
        .find_map(|kernel| kernel.btf.as_ref().ok());
    let names: Vec<String> = newest.map_or_else(Vec::new, |btf| {
        let globs = patterns.iter().map(|pattern| pattern.trim_matches('*'));
        globs.flat_map(|name| btf.similar_functions(name)).collect()
    });
    match names.as_slice() {
        [] => String::new(),
        names => format!("; similar: {}", names.join(", ")),
    }
}
