//! One kernel: resolved, fetched, booted, observed.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Result;
use guest::scenario::Scenario;

use super::{initramfs, watch::Watch};
use crate::{
    cli::RunArgs,
    error::UsageError,
    interrupt::{INTERRUPTED, Interrupt},
    kernel::{self, Kernel, Kernels, Resolved},
    progress::{Board, Line},
    recipe::Recipe,
    report::{KernelReport, KernelVerdict, observed::none_reached},
    vm::{self, Choice, Config, Limits, Qemu, Vm},
};

/// The memory of a VM.
pub(super) const MEMORY_MIB: u32 = 512;

/// A failure of the infrastructure is tried once more.
const ATTEMPTS: u32 = 2;

/// What all kernels of a run have in common.
pub(super) struct Setup {
    timeout: Duration,
    scenario_timeout: Option<Duration>,
    keep: Option<PathBuf>,
    planned: Vec<&'static Scenario>,
    pub(super) interrupt: Interrupt,
    kernels: Kernels,
    pub(super) board: Board,
    qemu: Qemu,
    accelerator: Choice,
}

/// A kernel to run, found or not.
pub(super) struct Target {
    pub(super) name: String,
    found: Result<Found, String>,
    resolve_ms: u64,
}

enum Found {
    /// It may have to be downloaded.
    InMatrix(Resolved),
    /// The user's own.
    Here(Kernel),
}

/// What is booted, and with which arguments besides the usual ones.
struct Boot {
    image: PathBuf,
    arguments: Vec<String>,
}

impl Boot {
    fn plain(kernel: &Kernel) -> Self {
        Self {
            image: kernel.image.clone(),
            arguments: Vec::new(),
        }
    }
}

impl Target {
    /// A kernel that need not be looked for.
    pub(super) fn here(kernel: Kernel) -> Self {
        Self {
            name: kernel.requested.clone(),
            found: Ok(Found::Here(kernel)),
            resolve_ms: 0,
        }
    }
}

/// Takes a kernel of the user's own.
pub(super) fn own(image: &Path, modules: Option<&Path>) -> Result<Target> {
    let started = Instant::now();
    let target = Target::here(kernel::local::open(image, modules)?);
    Ok(Target {
        resolve_ms: ms(started.elapsed()),
        ..target
    })
}

/// Finds out what each name stands for. Only a name that the user must mend is an error.
pub(super) fn resolve(
    kernels: &Kernels,
    names: &[String],
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Vec<Target>> {
    names
        .iter()
        .map(|name| {
            let line = board.line(name);
            line.phase("resolving");
            let started = Instant::now();
            let found = match kernels.resolve(name, &line) {
                _ if interrupt.stop().requested() => Err(INTERRUPTED.to_owned()),
                Err(error) if error.is::<UsageError>() => return Err(error),
                found => found
                    .map(Found::InMatrix)
                    .map_err(|error| format!("{error:#}")),
            };
            Ok(Target {
                name: name.clone(),
                found,
                resolve_ms: ms(started.elapsed()),
            })
        })
        .collect()
}

impl Setup {
    /// Looks for QEMU, and decides how it is to run.
    pub(super) fn new(
        args: &RunArgs,
        planned: &[&'static Scenario],
        interrupt: &Interrupt,
        kernels: Kernels,
        board: &Board,
    ) -> Result<Self> {
        Ok(Self {
            timeout: args.timeout,
            scenario_timeout: args.scenario_timeout,
            keep: args.keep.clone(),
            planned: planned.to_vec(),
            interrupt: interrupt.clone(),
            kernels,
            board: board.clone(),
            qemu: Qemu::find()?,
            accelerator: vm::accel::choose(args.accel)?,
        })
    }

    /// Runs one kernel. Whatever goes wrong is in the report, which lists every scenario.
    pub(super) fn run(&self, target: &Target) -> KernelReport {
        let started = Instant::now();
        let line = self.board.line(&target.name);
        let mut report = KernelReport {
            requested: target.name.clone(),
            ..KernelReport::default()
        };
        report.phases_ms.resolve = Some(target.resolve_ms);
        if let Err(error) = self.stages(target, &line, &mut report) {
            let why = format!("{error:#}");
            let version = report
                .version
                .as_deref()
                .and_then(|version| version.parse().ok());
            report.scenarios = none_reached(&self.planned, version, &why);
            report.verdict = KernelVerdict::Infra;
            report.error = Some(why);
        }
        report.phases_ms.total = Some(target.resolve_ms + ms(started.elapsed()));
        report
    }

    fn stages(&self, target: &Target, line: &Line, report: &mut KernelReport) -> Result<()> {
        anyhow::ensure!(!self.interrupt.stop().requested(), INTERRUPTED);
        let found = target
            .found
            .as_ref()
            .map_err(|why| anyhow::anyhow!("{why}"))?;
        let kernel = self.fetch(found, line, report)?;
        report.release = Some(kernel.release.clone());
        report.version = Some(kernel.version.clone());
        report.warnings.extend(kernel.source.notes.iter().cloned());
        report.source = Some(kernel.source.clone());

        line.phase("packing the initramfs");
        let started = Instant::now();
        let (initramfs, warnings) = initramfs::pack(&kernel, &self.planned, self.scenario_timeout)?;
        report.phases_ms.image = Some(ms(started.elapsed()));
        report.warnings.extend(warnings);
        self.attempts(&kernel, &initramfs, line, report)
    }

    fn fetch(&self, found: &Found, line: &Line, report: &mut KernelReport) -> Result<Kernel> {
        let resolved = match found {
            Found::Here(kernel) => return Ok(kernel.clone()),
            Found::InMatrix(resolved) => resolved,
        };
        report.version = Some(resolved.version.clone());
        line.phase("fetching");
        let started = Instant::now();
        let kernel = self.kernels.fetch(resolved, line)?;
        report.phases_ms.fetch = Some(ms(started.elapsed()));
        Ok(kernel)
    }

    fn attempts(
        &self,
        kernel: &Kernel,
        initramfs: &[u8],
        line: &Line,
        report: &mut KernelReport,
    ) -> Result<()> {
        let mut boot = self.fastest(kernel, line)?;
        loop {
            report.attempts += 1;
            let cut_off = self.vm(&boot, initramfs, line, report)?;
            let again = report.verdict == KernelVerdict::Infra
                && cut_off
                && report.attempts < ATTEMPTS
                && !self.interrupt.stop().requested();
            if !again {
                return Ok(());
            }
            let why = report.error.take().unwrap_or_default();
            let note = format!("tried once more, because: {why}");
            line.note(&note);
            report.warnings.push(note);
            boot = Boot::plain(kernel);
        }
    }

    /// The fastest boot of a kernel, as far as its image allows.
    fn fastest(&self, kernel: &Kernel, line: &Line) -> Result<Boot> {
        let recipe = Recipe::fastest(kernel.version.parse().ok(), self.accelerator.accelerator)?;
        let mut boot = Boot::plain(kernel);
        boot.arguments = recipe.arguments;
        if recipe.uncompressed {
            match self.kernels.uncompressed(kernel) {
                Ok(image) => boot.image = image,
                Err(why) => line.detail(&format!("the guest unpacks its kernel itself: {why:#}")),
            }
        }
        Ok(boot)
    }

    /// One VM, from start to end; whether it was cut off before the guest was done.
    fn vm(
        &self,
        boot: &Boot,
        initramfs: &[u8],
        line: &Line,
        report: &mut KernelReport,
    ) -> Result<bool> {
        let keep = self
            .keep
            .as_ref()
            .map(|dir| dir.join(folder_name(&report.requested)));
        let mut config = Config::new(&boot.image, initramfs, self.accelerator.accelerator);
        config.kernel_args.clone_from(&boot.arguments);
        config.memory_mib = MEMORY_MIB;
        config.limits = self.limits();
        config.keep = keep.as_deref();
        report.command_line = Some(config.kernel_command_line());
        report.accelerator = Some(config.accelerator.name().to_owned());
        report.accelerator_reason = Some(self.accelerator.reason.clone());
        report.qemu_version = Some(self.qemu.version.clone());
        report.memory_mb = Some(config.memory_mib.into());

        line.phase("booting");
        let mut watch = Watch::new(&self.planned, report, line);
        let vm = Vm::start(&self.qemu, &config)?;
        report.qemu_command = Some(vm.command_line().to_owned());
        line.detail(vm.command_line());
        let finished = vm.run(self.interrupt.stop(), &mut |event| watch.take(event));
        let cut_off = !matches!(&finished, Ok(finished) if finished.ending == vm::Ending::Done);
        watch.conclude(finished.as_ref(), report);
        Ok(cut_off)
    }

    fn limits(&self) -> Limits {
        let usual = Limits::default();
        // A scenario that may take long may be silent for as long.
        let silence = self
            .scenario_timeout
            .map_or(usual.silence, |limit| usual.silence.max(limit * 2));
        Limits {
            wall: self.timeout,
            silence,
            ..usual
        }
    }
}

/// A kernel may be asked for by a path or an address.
fn folder_name(requested: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = requested
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    name.trim_matches(['_', '.']).to_owned()
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
