//! One kernel: resolved, fetched, booted, observed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use fexit::KernelVersion;

use crate::{
    initramfs::job,
    kernels::{self, Kernel, Kernels, Resolved},
    report::{
        KernelReport, KernelVerdict,
        terminal::{Board, Line},
    },
    session::{fast_boot::Boot, options::RunOptions, plan::Plan},
    support::interrupt::{INTERRUPTED, Interrupt},
    vm::{self, Accelerator, Choice, Mode, Qemu, Templates},
};

/// A failure of the infrastructure is tried once more.
const ATTEMPTS: u32 = 2;

/// What all kernels of a run have in common.
pub(crate) struct Setup {
    pub(crate) timeout: Duration,
    pub(crate) silence: Option<Duration>,
    pub(crate) scenario_timeout: Option<Duration>,
    keep: Option<PathBuf>,
    pub(crate) plan: Plan,
    pub(crate) interrupt: Interrupt,
    kernels: Arc<Kernels>,
    pub(crate) board: Board,
    pub(crate) qemu: Qemu,
    pub(crate) accelerator: Choice,
    mode: Mode,
    /// `None` where every VM is to boot.
    pub(crate) templates: Option<Templates>,
    pub(crate) icount: bool,
    in_turn: bool,
}

/// A kernel to run, found or not.
pub(crate) struct Target {
    pub(crate) name: String,
    found: Result<Found, String>,
    resolve_ms: u64,
}

enum Found {
    /// It may have to be downloaded.
    InMatrix(Resolved),
    /// The user's own.
    Here(Kernel),
}

impl Target {
    /// Its upstream version, if it was found.
    pub(crate) fn version(&self) -> Option<KernelVersion> {
        let version = match self.found.as_ref().ok()? {
            Found::InMatrix(resolved) => &resolved.version,
            Found::Here(kernel) => &kernel.version,
        };
        version.parse().ok()
    }

    /// A kernel that was looked for, so long.
    pub(crate) fn new(name: String, found: Result<Resolved, String>, took: Duration) -> Self {
        Self {
            name,
            found: found.map(Found::InMatrix),
            resolve_ms: ms(took),
        }
    }

    /// A kernel that need not be looked for.
    pub(crate) fn here(kernel: Kernel) -> Self {
        Self {
            name: kernel.requested.clone(),
            found: Ok(Found::Here(kernel)),
            resolve_ms: 0,
        }
    }
}

/// Takes a kernel of the user's own.
pub(crate) fn own(image: &Path, modules: Option<&Path>) -> Result<Target> {
    let started = Instant::now();
    let target = Target::here(kernels::sources::local::open(image, modules)?);
    Ok(Target {
        resolve_ms: ms(started.elapsed()),
        ..target
    })
}

impl Setup {
    /// Looks for QEMU, and decides how it is to run.
    pub(crate) fn new(
        options: &RunOptions,
        plan: &Plan,
        interrupt: &Interrupt,
        kernels: Arc<Kernels>,
        board: &Board,
    ) -> Result<Self> {
        let cache = kernels.cache_dir();
        let accelerator = if options.icount {
            Choice::icount()
        } else {
            vm::accel::choose(options.accel, cache)?
        };
        let templates = (!options.icount && !options.no_template)
            .then(|| Templates::if_they_pay(cache, accelerator.accelerator));
        Ok(Self {
            templates: templates.flatten(),
            icount: options.icount,
            in_turn: options.in_turn || options.icount,
            qemu: Qemu::find_known(cache)?,
            timeout: options.timeout,
            silence: options.silence,
            scenario_timeout: options.scenario_timeout,
            keep: options.keep.clone(),
            plan: plan.clone(),
            interrupt: interrupt.clone(),
            kernels,
            board: board.clone(),
            accelerator,
            mode: options.accel,
        })
    }

    /// Runs one kernel. Whatever goes wrong is in the report, which lists every scenario.
    pub(crate) fn run(&self, target: &Target) -> KernelReport {
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
            self.plan.none_reached(version, &why, &mut report);
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
        let (initramfs, warnings) = job::pack(
            &kernel,
            (&self.plan.planned, &self.plan.programs),
            self.in_turn,
            self.scenario_timeout,
        )?;
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
        let mut boot = Boot::fastest(&self.kernels, kernel, self.accelerator.clone(), line)?;
        loop {
            report.attempts += 1;
            let ended = self.vm(&boot, initramfs, line, report);
            let failed = match &ended {
                Ok(cut_off) => *cut_off && report.verdict == KernelVerdict::Infra,
                Err(_) => true,
            };
            if !failed || report.attempts >= ATTEMPTS || self.interrupt.stop().requested() {
                return ended.map(drop);
            }
            let why = match ended {
                Ok(_) => report.error.take().unwrap_or_default(),
                Err(error) => format!("{error:#}"),
            };
            let note = format!("tried once more, because: {why}");
            line.note(&note);
            report.warnings.push(note);
            self.put_aside(&report.requested, report.attempts)?;
            boot = Boot::plain(kernel, again(self.mode, &boot.accelerator, &why));
        }
    }

    /// Where the files of a kernel's VM are kept.
    pub(crate) fn kept(&self, requested: &str) -> Option<PathBuf> {
        let dir = self.keep.as_ref()?;
        Some(dir.join(folder_name(requested)))
    }

    /// Saves what was kept of an attempt from the next one.
    fn put_aside(&self, requested: &str, attempt: u32) -> Result<()> {
        let Some(kept) = self.kept(requested) else {
            return Ok(());
        };
        let aside = kept.with_file_name(format!("{}-attempt-{attempt}", folder_name(requested)));
        let moved = match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(&kept, &aside),
        };
        match moved {
            // It failed before it kept anything.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved
                .with_context(|| format!("cannot move {} to {}", kept.display(), aside.display())),
        }
    }
}

/// The accelerator for a second attempt: a KVM that looked well and did not do is not tried again, unless asked for.
fn again(mode: Mode, first: &Choice, why: &str) -> Choice {
    if mode == Mode::Auto && first.accelerator == Accelerator::Kvm {
        Choice {
            accelerator: Accelerator::Tcg,
            reason: format!("with KVM: {why}"),
        }
    } else {
        first.clone()
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

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kvm_that_failed_is_tried_again_only_if_it_was_asked_for() {
        let choice = |accelerator| Choice {
            accelerator,
            reason: "fast".into(),
        };
        let (kvm, tcg) = (choice(Accelerator::Kvm), choice(Accelerator::Tcg));
        let second = again(Mode::Auto, &kvm, "QEMU failed");
        assert_eq!(second.accelerator, Accelerator::Tcg);
        assert_eq!(second.reason, "with KVM: QEMU failed");
        assert_eq!(again(Mode::Kvm, &kvm, "QEMU failed"), kvm);
        assert_eq!(again(Mode::Auto, &tcg, "QEMU failed"), tcg);
    }
}
