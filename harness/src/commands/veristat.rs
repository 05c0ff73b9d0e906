//! `harness veristat`: the verifier's figures of programs on kernels.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::run::{Ran, Request, show};
use crate::cli::run::RunArgs;
use crate::cli::veristat::{Format, VeristatArgs};
use crate::initramfs::bpf_objects::ObjectArgs;
use crate::report::{file, verifier_table::Table};
use crate::session::outputs::{OutputArgs, Outputs};

/// Runs the programs of the objects as `--object` does, and prints the figures.
pub fn run(args: &VeristatArgs) -> Result<u8> {
    let run = RunArgs {
        kernels: args.kernels.clone(),
        kernel_image: args.kernel_image.clone(),
        objects: ObjectArgs {
            objects: args.objects.clone(),
            programs: args.programs.clone(),
            targets: args.targets.clone(),
            ..ObjectArgs::default()
        },
        options: args.options.clone(),
        store: args.store.clone(),
        verbose: args.verbose,
        ..RunArgs::default()
    };
    let outputs = Outputs::prepare(&OutputArgs::default())?;
    let Ran {
        report,
        error,
        interrupt,
        board,
    } = Request::new(&run)?.run(&run, &outputs)?;
    if let Some(error) = error {
        return Err(error);
    }
    let table = Table::new(&report, &args.sort);
    let text = match args.output_format {
        Format::Table => table.text(),
        Format::Csv => table.csv()?,
        Format::Json => file::json(&report)?,
    };
    let judged = show(&report, None, &board);
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    Ok(interrupt.exit_code().unwrap_or(judged))
}
