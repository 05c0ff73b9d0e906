//! The tasks of developers and CI: `cargo xtask check`, `bench`, `bench-vm`, `mutants`, `fuzz`, `release`,
//! `by-kernel`.

mod bench;
mod bench_vm;
mod by_kernel;
mod check;
mod fuzz;
mod mutants;
mod release;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use xshell::Shell;

/// Checks, measures and tests this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run everything that must pass before a change lands: format, lints, docs, tests with real VMs, fuzzing
    Check(check::Args),
    /// Compare the library with aya and libbpf-rs in one VM: JSON on stdout, a table on stderr
    Bench(bench::Args),
    /// Compare the harness's VMs with a plain boot: JSON on stdout, Markdown tables on stderr
    BenchVm(bench_vm::Args),
    /// Break the library on purpose, one mutant at a time, and require that unit tests and scenarios fail
    Mutants(mutants::Args),
    /// Fuzz the readers of objects and BTF with libFuzzer
    Fuzz(fuzz::Args),
    /// Build the archive of a release: a static binary, manual pages, completions
    Release(release::Args),
    /// Write docs/by-kernel.md, what works on which kernel, from a report
    ByKernel(by_kernel::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        // Returned from `main`, it would come with a backtrace where RUST_BACKTRACE is set.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let root = workspace_root()?;
    let shell = Shell::new()?;
    shell.change_dir(&root);
    match task {
        Task::Check(args) => check::run(&shell, &args),
        Task::Bench(args) => bench::run(&shell, &args),
        Task::BenchVm(args) => bench_vm::run(&root, &args),
        Task::Mutants(args) => mutants::run(&shell, &root, &args),
        Task::Fuzz(args) => fuzz::run(&shell, &args),
        Task::Release(args) => release::run(&shell, &args),
        Task::ByKernel(args) => by_kernel::run(&shell, &args),
    }
}

fn workspace_root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("ci/xtask has no parent")?;
    Ok(root.to_owned())
}
