//! `harness kernels`: what there is to boot.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    cli::KernelsCommand,
    commands::build,
    kernels::{
        Kernels,
        operations::{self, Change, Health, Series},
    },
    report::{KernelVerdict, terminal::Board},
};

/// Does what `harness kernels` was asked to do, and returns the exit status.
pub fn command(command: &KernelsCommand) -> Result<u8> {
    let kernels = Kernels::open(command.store().options())?;
    let all_well = match command {
        KernelsCommand::List {
            kernels: names,
            json,
            ..
        } => list(&kernels, names, *json),
        KernelsCommand::Fetch { kernels: names, .. } => fetch(&kernels, names),
        KernelsCommand::Verify { kernels: names, .. } => verify(&kernels, names),
        KernelsCommand::Update { series, .. } => update(&kernels, series),
        KernelsCommand::Build(args) => return build::command(args),
    }?;
    let verdict = if all_well {
        KernelVerdict::Ok
    } else {
        KernelVerdict::Infra
    };
    Ok(verdict.exit_code())
}

/// One line per kernel: its name, the version it resolves to, its source, whether it is cached.
pub fn table(series: &[Series]) -> String {
    let mut table = String::new();
    for Series {
        name,
        source,
        version,
        size,
        cached,
        built,
        lower_side,
        in_all,
        ..
    } in series
    {
        let version = version.as_deref().unwrap_or("not locked");
        let built = built.as_ref().map_or_else(String::new, |built| {
            let side = if *lower_side { ", without fexit" } else { "" };
            format!("; {built} is here{side}")
        });
        let size = size.map_or_else(String::new, |size| format!("{:.0} MB", size as f64 / 1e6));
        let here = if *cached { "cached" } else { "" };
        let mark = if *in_all { ' ' } else { '-' };
        let line = format!("{name:<5} {mark} {version:<10}  {size:>6}  {here:<6}  {source}{built}");
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table.push_str("(- is not in `all`)\n");
    table
}

/// On one line, as a job matrix of a CI wants it.
fn array(series: &[Series]) -> Result<String> {
    #[derive(Serialize)]
    struct Entry<'a> {
        kernel: &'a str,
        #[serde(flatten)]
        series: &'a Series,
    }
    let entries = series.iter().map(|series| Entry {
        kernel: &series.name,
        series,
    });
    let json = serde_json::to_string(&entries.collect::<Vec<_>>())?;
    Ok(json + "\n")
}

fn list(kernels: &Kernels, names: &[String], json: bool) -> Result<bool> {
    let mut series = operations::list(kernels)?;
    if !names.is_empty() {
        let names = kernels.expand(names)?;
        series.retain(|series| names.contains(&series.name));
    }
    print(&if json {
        array(&series)?
    } else {
        table(&series)
    })?;
    Ok(true)
}

fn fetch(kernels: &Kernels, names: &[String]) -> Result<bool> {
    let board = Board::new(false);
    let mut all_well = true;
    for (name, kernel) in operations::fetch(kernels, names, &board.line(""))? {
        let line = board.line(&name);
        match kernel {
            Ok(kernel) => line.note(&format!("{} is in the cache", kernel.release)),
            Err(error) => {
                all_well = false;
                line.note(&format!("{error:#}"));
            }
        }
    }
    Ok(all_well)
}

fn verify(kernels: &Kernels, names: &[String]) -> Result<bool> {
    let mut all_well = true;
    for (name, health) in operations::verify(kernels, names)? {
        all_well &= health == Health::Good;
        print(&match health {
            Health::Good => format!("{name:<8}  good\n"),
            Health::Absent => format!("{name:<8}  not in the cache\n"),
            Health::Damaged(why) => format!("{name:<8}  damaged, to be fetched again: {why}\n"),
        })?;
    }
    Ok(all_well)
}

fn update(kernels: &Kernels, series: &[String]) -> Result<bool> {
    let board = Board::new(false);
    let mut all_well = true;
    for Change { series, old, new } in operations::update(kernels, series, &board.line("kernels"))?
    {
        all_well &= new.is_ok();
        print(&match (old, new) {
            (Some(old), Ok(new)) if old == new => format!("{series:<5}  {new}\n"),
            (Some(old), Ok(new)) => format!("{series:<5}  {old} -> {new}\n"),
            (None, Ok(new)) => format!("{series:<5}  {new} (new)\n"),
            (_, Err(error)) => format!("{series:<5}  not updated: {error:#}\n"),
        })?;
    }
    Ok(all_well)
}

fn print(text: &str) -> Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")
}
