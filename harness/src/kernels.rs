//! `harness kernels`: what there is to boot.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cli::{KernelsCommand, StoreArgs},
    kernel::{Kernels, Options, commands},
    progress::Board,
};

/// Reads the matrix that the command line names.
pub fn open(args: &StoreArgs) -> Result<Kernels> {
    Kernels::open(Options {
        cache_dir: args.cache_dir.clone(),
        offline: args.offline,
        matrix: args.matrix.clone(),
        ..Options::default()
    })
}

/// Does what `harness kernels` was asked to do, and returns the exit status.
pub fn command(command: &KernelsCommand) -> Result<u8> {
    let kernels = open(command.store())?;
    match command {
        KernelsCommand::List { json: false, .. } => print(&table(&kernels)),
        KernelsCommand::List { json: true, .. } => print(&array(&kernels)),
        KernelsCommand::Fetch { kernels: names, .. } => fetch(&kernels, names),
        KernelsCommand::Update { series, .. } => update(&kernels, series),
    }?;
    Ok(0)
}

/// A line a kernel: its name, what it stands for, where it comes from.
pub fn table(kernels: &Kernels) -> String {
    entries(kernels)
        .map(|(name, version, source)| format!("{name:<5}  {version:<10}  {source}\n"))
        .collect()
}

fn array(kernels: &Kernels) -> String {
    let entries = entries(kernels).map(
        |(name, version, source)| json!({ "kernel": name, "version": version, "source": source }),
    );
    format!("{}\n", json!(entries.collect::<Vec<_>>()))
}

fn entries(kernels: &Kernels) -> impl Iterator<Item = (&str, &str, &str)> {
    let matrix = kernels.matrix();
    matrix.series().iter().map(|series| {
        let locked = matrix.lock.find(&series.name);
        let version = locked.map_or("not locked", |locked| &locked.version);
        (series.name.as_str(), version, series.source.as_str())
    })
}

fn fetch(kernels: &Kernels, names: &[String]) -> Result<()> {
    let board = Board::new(false);
    for name in kernels.expand(names)? {
        let line = board.line(&name);
        let resolved = kernels.resolve(&name, &line)?;
        let kernel = kernels.fetch(&resolved, &line)?;
        line.note(&format!("{} is in the cache", kernel.release));
    }
    Ok(())
}

fn update(kernels: &Kernels, series: &[String]) -> Result<()> {
    let board = Board::new(false);
    for change in commands::update(kernels, series, &board.line("kernels"))? {
        let commands::Change { series, old, new } = change;
        print(&match old {
            Some(old) if old == new => format!("{series:<5}  {new}\n"),
            Some(old) => format!("{series:<5}  {old} -> {new}\n"),
            None => format!("{series:<5}  {new} (new)\n"),
        })?;
    }
    Ok(())
}

fn print(text: &str) -> Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")
}
