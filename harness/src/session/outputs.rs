//! The outputs of a report.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use clap::Args;

use crate::report::{
    Report,
    file::{self, OutputFile},
    github, html, junit, markdown,
};

/// The files for a report, and their formats.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write the JSON report to this file instead of stdout, and update it after each kernel
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Write JUnit XML too
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,

    /// Write a Markdown matrix too, kernels across and scenarios down
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Write an HTML page too, with the matrix, the details of each result, and plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Append the Markdown matrix to the summary of this GitHub Actions job
    #[arg(long)]
    pub summary: bool,
}

/// The prepared outputs of a report.
#[derive(Debug)]
pub struct Outputs {
    json: Option<OutputFile>,
    junit: Option<OutputFile>,
    markdown: Option<OutputFile>,
    html: Option<OutputFile>,
    summary: Option<PathBuf>,
}

impl Outputs {
    /// Checks that every output can be written.
    pub fn prepare(outputs: &OutputArgs) -> Result<Self> {
        let file = |path: &Option<PathBuf>| path.as_deref().map(OutputFile::prepare).transpose();
        Ok(Self {
            json: file(&outputs.output)?,
            junit: file(&outputs.junit)?,
            markdown: file(&outputs.markdown)?,
            html: file(&outputs.html)?,
            summary: outputs.summary.then(github::summary_path).transpose()?,
        })
    }

    /// Updates the JSON file, so that finished kernels are kept if the harness is killed.
    pub fn update(&self, report: &Report) -> Result<()> {
        match &self.json {
            Some(file) => file.replace(&file::json(report)?),
            None => Ok(()),
        }
    }

    /// Writes all outputs. If the JSON file cannot be written, the report goes to stdout.
    pub fn finish(&self, report: &Report) -> Result<()> {
        let json = file::json(report)?;
        let written = match &self.json {
            Some(file) => file.replace(&json).inspect_err(|_| drop(to_stdout(&json))),
            None => to_stdout(&json),
        };
        if let Some(file) = &self.junit {
            file.replace(&junit::xml(report)?)?;
        }
        if let Some(file) = &self.markdown {
            file.replace(&markdown::page(report))?;
        }
        if let Some(file) = &self.html {
            file.replace(&html::page(report)?)?;
        }
        if let Some(path) = &self.summary {
            github::append_summary(report, path)?;
        }
        written
    }
}

fn to_stdout(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write the report to stdout")
}
