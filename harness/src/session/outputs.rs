//! Where the report of a run goes.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use crate::{
    cli::Outputs,
    report::{
        Report,
        file::{self, OutputFile},
        github, junit, markdown,
    },
};

/// All the places that a report is written to.
#[derive(Debug)]
pub struct Sinks {
    json: Option<OutputFile>,
    junit: Option<OutputFile>,
    markdown: Option<OutputFile>,
    summary: Option<PathBuf>,
}

impl Sinks {
    /// Finds out whether each place can be written to.
    pub fn prepare(outputs: &Outputs) -> Result<Self> {
        let file = |path: &Option<PathBuf>| path.as_deref().map(OutputFile::prepare).transpose();
        Ok(Self {
            json: file(&outputs.output)?,
            junit: file(&outputs.junit)?,
            markdown: file(&outputs.markdown)?,
            summary: outputs.summary.then(github::summary_path).transpose()?,
        })
    }

    /// Brings the JSON file up to date, so that what is finished survives whatever comes.
    pub fn update(&self, report: &Report) -> Result<()> {
        match &self.json {
            Some(file) => file.replace(&file::json(report)?),
            None => Ok(()),
        }
    }

    /// Writes everything. Where the JSON file cannot be written, the report goes to stdout: it is not lost.
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
