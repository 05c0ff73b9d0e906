//! The process of one scenario.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result};
use fexit::{Btf, KernelVersion};
use guest::scenario::Context;
use guest::scenarios;
use protocol::event::Outcome;

use crate::leaks::Census;
use crate::outcome;

/// The argument that makes this binary run a scenario.
pub(crate) const COMMAND: &str = "scenario";

/// The argument that tells it that others run meanwhile.
const BESIDE: &str = "beside-others";

/// Whether a scenario is the only one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    Alone,
    Others,
}

/// The command that runs the scenario `id` in a process of its own.
pub(crate) fn command(id: &str, company: Company) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([COMMAND, id]);
    if company == Company::Others {
        command.arg(BESIDE);
    }
    command
}

/// Runs the scenario and hands its result back; see [`crate::supervise`] for the way.
pub(crate) fn run(id: &str, more: &[OsString]) -> ExitCode {
    let company = if more.iter().any(|word| word == BESIDE) {
        Company::Others
    } else {
        Company::Alone
    };
    match report(id, company) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(id: &str, company: Company) -> Result<()> {
    crate::confine::confine().context("cannot give up rights")?;
    let scenario = scenarios::find(id).with_context(|| format!("no scenario `{id}`"))?;
    let mut pipe = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let dir = std::env::temp_dir().join(id);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::env::set_current_dir(&dir)?;
    let mut context = Context::default();
    let start = Instant::now();
    let before = Census::of_process(company);
    let result = (scenario.run)(&mut context);
    // Also after a refusal: a way out that leaks is none. Of a failure the first reason counts.
    let result = match before.nothing_new() {
        Err(leak) if outcome::is_clean(&result) => Err(leak),
        _ => result,
    };
    let mut result = outcome::judge(result, context.measurements, start.elapsed());
    if result.outcome == Outcome::Passed
        && let Some(feature) = scenario.feature
        && KernelVersion::current() < feature.minimum()
    {
        // That it passed tells where the kernel's types do not.
        result.backported = Btf::from_sys_fs().is_ok_and(|btf| feature.is_in(&btf) != Some(false));
    }
    pipe.write_all(&serde_json::to_vec(&result)?)
        .context("cannot hand the result back")
}
