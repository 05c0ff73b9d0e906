//! Commands that work on reports already written.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    kernels::{Kernels, Options},
    report::{KernelReport, Report, compare::Comparison, file, github},
    session::outputs::{OutputArgs, Outputs},
};

/// Prints what changed between two reports, and returns the exit status that says whether something regressed.
pub fn compare(old: &Path, new: &Path) -> Result<u8> {
    let comparison = Comparison::new(&file::read(old)?, &file::read(new)?);
    write!(io::stdout(), "{comparison}").context("cannot write to stdout")?;
    Ok(comparison.exit_code())
}

/// Merges reports, as the jobs of a CI write them, renders the result, and returns its exit status.
pub fn merge(paths: &[PathBuf], expect: &[String], outputs: &OutputArgs) -> Result<u8> {
    let expected = match expect {
        [] => Vec::new(),
        names => Kernels::open(Options::default())?.expand(names)?,
    };
    let outputs = Outputs::prepare(outputs)?;
    let mut kernels: Vec<KernelReport> = Vec::new();
    let mut objects = Vec::new();
    for path in paths {
        let read = file::read(path)?;
        for object in read.objects {
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
        for kernel in read.kernels {
            // A kernel that was run again replaces itself.
            match kernels
                .iter_mut()
                .find(|known| known.requested == kernel.requested)
            {
                Some(known) => *known = kernel,
                None => kernels.push(kernel),
            }
        }
    }
    let missing = missing(&expected, &kernels);
    // What the reports themselves have was annotated by the jobs that wrote them.
    github::annotate(&missing);
    kernels.extend(missing);
    let mut report = Report::new(kernels);
    report.objects = objects;
    outputs.finish(&report)?;
    Ok(report.verdict.exit_code())
}

/// The kernels of which no report came.
fn missing(expected: &[String], kernels: &[KernelReport]) -> Vec<KernelReport> {
    let is_there = |name: &String| kernels.iter().any(|kernel| kernel.requested == *name);
    let lost = |name: &String| KernelReport {
        requested: name.clone(),
        error: Some("no report has this kernel: its job ended before it wrote one".to_owned()),
        ..KernelReport::default()
    };
    let absent = expected.iter().filter(|name| !is_there(name));
    absent.map(lost).collect()
}
