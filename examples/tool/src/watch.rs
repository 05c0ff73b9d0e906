//! The main loop of a tool: prints records until it ends.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Events, Record, Tracer};

/// How soon the end of the command is noticed, or a signal that arrives just before the wait.
const TICK: Duration = Duration::from_millis(20);
const IDLE_TICK: Duration = Duration::from_millis(500);

/// The format of the output, and when the tool ends: by default with Ctrl-C.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Output {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// End after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "command")]
    pub duration: Option<Duration>,
    /// Run a command, and end with it
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Prints records until the end, and on stderr the number of lost ones.
///
/// Returns the exit status of the command, as `perf stat` does, or success.
///
/// # Errors
///
/// The command cannot be run, or stdout cannot be written. A closed pipe ends the loop without an error.
pub fn watch<R: Record>(output: &Output, tracer: &Tracer, events: &mut Events) -> Result<ExitCode> {
    let mut out = io::stdout();
    let mut take = |bytes: &[u8]| {
        let record = R::parse(bytes)?;
        if output.json {
            writeln!(out, "{}", record.json())?;
        } else {
            writeln!(out, "{}", record.text())?;
        }
        Ok(())
    };
    if !output.json && !R::HEADER.is_empty() {
        print(&format!("{}\n", R::HEADER))?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut child = spawn(&output.command)?;
    let deadline = output
        .duration
        .and_then(|duration| Instant::now().checked_add(duration));
    let tick = if child.is_some() { TICK } else { IDLE_TICK };
    let mut code = None;
    loop {
        let mut over = stop.load(Ordering::Relaxed);
        if let Some(child) = &mut child
            && let Some(status) = child.try_wait()?
        {
            let status = status
                .code()
                .or_else(|| Some(128 + status.signal()?))
                .unwrap_or(1);
            code = Some(ExitCode::from(u8::try_from(status).unwrap_or(1)));
            over = true;
        }
        let left = deadline.map_or(tick, |end| end.saturating_duration_since(Instant::now()));
        // Read the records once more after the end was noticed, so that no earlier one is missed.
        match events.drain(&mut take) {
            Err(error) if is_broken_pipe(&error) => break,
            other => other?,
        }
        if over || left.is_zero() {
            break;
        }
        events.wait(left.min(tick))?;
    }
    let dropped = tracer.dropped()?;
    if dropped != 0 {
        eprintln!("{dropped} records were lost: they came faster than they were read");
    }
    Ok(code.unwrap_or(ExitCode::SUCCESS))
}

/// Prints. A closed pipe is not an error.
///
/// # Errors
///
/// Other failures to write stdout, for example a full disk.
pub fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn spawn(command: &[OsString]) -> Result<Option<Child>> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(None);
    };
    let child = Command::new(program).args(arguments).spawn();
    child
        .map(Some)
        .with_context(|| format!("cannot run {}", program.display()))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_parsed_as_seconds_that_are_not_negative() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["-1", "x", "inf"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
