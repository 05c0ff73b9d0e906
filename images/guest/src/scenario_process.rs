//! The process that runs one scenario.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result};
use fexit::{Btf, Feature};
use guest::scenario::Context;
use guest::{kallsyms, scenarios};

use crate::concurrency::Concurrency;
use crate::copies;
use crate::leak_check::LeakCheck;
use crate::outcome;

/// The argument that makes this binary run a scenario.
pub(crate) const COMMAND: &str = "scenario";

/// The argument that says that other scenarios run at the same time.
const PARALLEL: &str = "parallel";

/// The command that runs the scenario `id` in its own process.
pub(crate) fn command(id: &str, concurrency: Concurrency) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([COMMAND, id]);
    if concurrency == Concurrency::Parallel {
        command.arg(PARALLEL);
    }
    command
}

/// Runs the scenario and writes its result to the pipe that [`crate::supervise`] made.
pub(crate) fn run(id: &str, more: &[OsString]) -> ExitCode {
    let concurrency = if more.iter().any(|word| word == PARALLEL) {
        Concurrency::Parallel
    } else {
        Concurrency::Serial
    };
    match report(id, concurrency) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(id: &str, concurrency: Concurrency) -> Result<()> {
    let scenario =
        scenarios::find(id).with_context(|| format!("this guest has no scenario `{id}`"))?;
    if scenario.modules.is_empty() {
        kallsyms::show_copy()?;
    }
    crate::capabilities::drop_unneeded().context("cannot drop capabilities")?;
    let mut pipe = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let dir = std::env::temp_dir().join(id);
    fs::create_dir_all(&dir)
        .with_context(|| format!("cannot create the directory {}", dir.display()))?;
    std::env::set_current_dir(&dir)?;
    let mut context = Context::default();
    let start = Instant::now();
    let leaks = LeakCheck::for_process(concurrency);
    let result = (scenario.run)(&mut context).map_err(copies::skip_if_only_a_copy);
    // Also after a refusal. A failed scenario keeps its own error.
    let result = match leaks.finish() {
        Err(leak) if outcome::is_clean(&result) => Err(leak),
        _ => result,
    };
    let mut result = outcome::judge(result, context.measurements, start.elapsed());
    result.in_btf = scenario.feature.and_then(is_in_btf);
    result.backports = context.backports;
    pipe.write_all(&serde_json::to_vec(&result)?)
        .context("cannot write the result to /init")
}

/// Whether the kernel's BTF shows the feature, if it can.
fn is_in_btf(feature: Feature) -> Option<bool> {
    feature.is_in(&Btf::from_sys_fs().ok()?)
}
