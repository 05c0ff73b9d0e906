//! Shared by the example tools: a tracer that loads the variant of a program for this kernel, the records that it sends,
//! and the main loop, which ends with Ctrl-C, after a time, or with a command.

mod events;
mod record;
mod watch;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fexit::programs::Target;
use fexit::{Btf, Ebpf, EbpfLoader, Feature, Map};

pub use events::Events;
pub use record::{Fields, Record, errno, printable};
pub use watch::{Output, print, watch};

/// The exit status for `main`. Prints an error as one line on stderr, without a backtrace.
pub fn exit(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Which process to watch, and how it is reported.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Watched {
    /// Only this process
    #[arg(long)]
    pub pid: Option<u32>,
    /// Use perf events even where the kernel has ring buffers (from 5.8 on)
    #[arg(long)]
    pub perf_events: bool,
}

/// The programs of a tool. They are detached when it is dropped.
#[derive(Debug)]
pub struct Tracer {
    ebpf: Ebpf,
    btf: Btf,
    by_ring: bool,
}

impl Tracer {
    /// Reads the object.
    ///
    /// # Errors
    ///
    /// The kernel has no BTF, or the object is not valid.
    pub fn new(object: &[u8], loader: &mut EbpfLoader, watched: &Watched) -> Result<Self> {
        loader.set_global("only_pid", &watched.pid.unwrap_or(0), true);
        let ebpf = loader.load(object)?;
        let btf = Btf::from_sys_fs()?;
        let by_ring = !watched.perf_events && Feature::RingBuf.is_in(&btf) != Some(false);
        Ok(Self { ebpf, btf, by_ring })
    }

    /// Attaches a fentry or fexit program to the first of these functions that the kernel has: their names differ between releases.
    ///
    /// # Errors
    ///
    /// The library's error.
    pub fn attach(&mut self, program: &str, functions: &[&str]) -> Result<()> {
        let first = functions.first().copied().unwrap_or_default();
        let known = |function: &&&str| self.btf.has_function(function);
        let function = functions.iter().find(known).copied().unwrap_or(first);
        let perf = format!("{program}_perf");
        let has_perf = self.ebpf.program(&perf).is_some();
        let name = if has_perf && !self.by_ring {
            &perf
        } else {
            program
        };
        let found = self.ebpf.program_mut(name);
        let program = found.with_context(|| format!("no program `{name}`"))?;
        program.load_target(&Target::Function(function), &self.btf)?;
        program.attach()?;
        Ok(())
    }

    /// The records that the programs send from now on.
    ///
    /// # Errors
    ///
    /// The map could not be opened.
    pub fn events(&self) -> Result<Events> {
        let map = self.map(if self.by_ring { "ring" } else { "perf" })?;
        Events::open(map.clone(), self.by_ring)
    }

    /// How many records were dropped since the start.
    ///
    /// # Errors
    ///
    /// The counter could not be read.
    pub fn dropped(&self) -> Result<u64> {
        Ok(self.ebpf.global("dropped")?)
    }

    /// A map of the object.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf
            .map(name)
            .with_context(|| format!("no map `{name}`"))
    }
}
