//! Runs one kernel: fetches it, packs the initramfs, boots VMs and observes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use fexit::KernelVersion;

use crate::{
    initramfs::job,
    kernels::{self, Arch, Kernel, Kernels, Resolved, Tree},
    report::{
        KernelReport, KernelVerdict, add, ms,
        terminal::{Board, Line},
    },
    session::{
        control::Tries,
        fast_boot::Boot,
        hosts::{Host, Hosts},
        observer::{VmEnd, Watch},
        options::RunOptions,
        plan::Plan,
        tasks::Tasks,
    },
    support::interrupt::Interrupt,
};

/// After a failure of the infrastructure the harness tries once more.
const ATTEMPTS: u32 = 2;

/// The maximum number of VMs that run the rest after a crash.
const MAX_RESTARTS: usize = 10;

/// What all kernels of a run share.
pub(crate) struct Setup {
    pub(crate) options: RunOptions,
    pub(super) tries: Tries,
    pub(crate) interrupt: Interrupt,
    kernels: Arc<Kernels>,
    pub(crate) board: Board,
    hosts: Hosts,
}

/// A kernel to run, found or not.
pub(crate) struct Target {
    pub(crate) name: String,
    /// Whether the user says that it is a vendor's.
    pub(crate) vendor: bool,
    /// What runs on it.
    pub(crate) plan: Plan,
    /// An earlier report, of which the plan is the part that must run again.
    pub(crate) earlier: Option<KernelReport>,
    found: Result<Found, String>,
    resolve_ms: u64,
}

enum Found {
    /// A named kernel, which may have to be downloaded.
    InMatrix(Resolved),
    /// A kernel on this machine.
    Local(Kernel),
}

impl Target {
    /// Its upstream version, if it was found.
    pub(crate) fn version(&self) -> Option<KernelVersion> {
        let version = match self.found.as_ref().ok()? {
            Found::InMatrix(resolved) => &resolved.version,
            Found::Local(kernel) => &kernel.version,
        };
        version.parse().ok()
    }

    /// Its architecture. Only the files of a kernel from a URL show it.
    pub(crate) fn arch(&self) -> Arch {
        match self.found.as_ref() {
            Ok(Found::InMatrix(resolved)) => resolved.arch(),
            Ok(Found::Local(kernel)) => kernel.arch,
            Err(_) => Arch::of_name(&self.name),
        }
    }

    /// The result of resolving a name, and how long that took.
    pub(crate) fn new(name: String, found: Result<Resolved, String>, took: Duration) -> Self {
        Self {
            name,
            vendor: false,
            plan: Plan::default(),
            earlier: None,
            found: found.map(Found::InMatrix),
            resolve_ms: ms(took),
        }
    }

    /// A kernel on this machine.
    pub(crate) fn local(kernel: Kernel) -> Self {
        Self {
            name: kernel.requested.clone(),
            vendor: false,
            plan: Plan::default(),
            earlier: None,
            found: Ok(Found::Local(kernel)),
            resolve_ms: 0,
        }
    }
}

/// A kernel image of the user's.
pub(crate) fn own(image: &Path, modules: Option<&Path>) -> Result<Target> {
    let started = Instant::now();
    let target = Target::local(kernels::sources::local::open(image, modules)?);
    Ok(Target {
        resolve_ms: ms(started.elapsed()),
        ..target
    })
}

impl Setup {
    /// Finds QEMU, and chooses the accelerator, for the architectures of these kernels.
    pub(crate) fn new(
        options: &RunOptions,
        tries: Tries,
        interrupt: &Interrupt,
        kernels: Arc<Kernels>,
        board: &Board,
        targets: &[Target],
    ) -> Result<Self> {
        let hosts = Hosts::new(options, kernels.cache_dir().to_owned());
        for target in targets {
            hosts.of(target.arch())?;
        }
        Ok(Self {
            hosts,
            options: options.clone(),
            tries,
            interrupt: interrupt.clone(),
            kernels,
            board: board.clone(),
        })
    }

    /// What VMs of an architecture need.
    pub(super) fn host(&self, arch: Arch) -> Result<Arc<Host>> {
        self.hosts.of(arch)
    }

    /// Runs a plan on one kernel, after `before` attempts.
    pub(super) fn once(&self, target: &Target, plan: &Plan, before: u32) -> KernelReport {
        let started = Instant::now();
        let line = Arc::new(self.board.line(&target.name));
        let mut report = KernelReport {
            requested: target.name.clone(),
            arch: target.arch(),
            ..KernelReport::default()
        };
        report.phases_ms.resolve = Some(target.resolve_ms);
        if let Err(error) = self.stages(target, (plan, before), &line, &mut report) {
            let why = format!("{error:#}");
            plan.none_reached(report.running(), &why, &mut report);
            report.verdict = KernelVerdict::Infra;
            report.error = Some(why);
        }
        report.phases_ms.total = Some(target.resolve_ms + ms(started.elapsed()));
        report
    }

    fn stages(
        &self,
        target: &Target,
        plan: (&Plan, u32),
        line: &Arc<Line>,
        report: &mut KernelReport,
    ) -> Result<()> {
        if self.interrupt.stop().requested() {
            bail!(self.interrupt.why());
        }
        let found = target
            .found
            .as_ref()
            .map_err(|why| anyhow::anyhow!("{why}"))?;
        let kernel = self.fetch(found, line, report)?;
        report.arch = kernel.arch;
        report.release = Some(kernel.release.clone());
        report.version = Some(kernel.version.clone());
        report.warnings.extend(kernel.source.notes.iter().cloned());
        report.source = Some(kernel.source.clone());
        report.tree = Some(match target.vendor {
            true => Tree::Vendor,
            false => kernel.source.tree(&kernel.release),
        });
        self.vms(&kernel, plan, line, report)
    }

    fn fetch(&self, found: &Found, line: &Arc<Line>, report: &mut KernelReport) -> Result<Kernel> {
        let resolved = match found {
            Found::Local(kernel) => return Ok(kernel.clone()),
            Found::InMatrix(resolved) => resolved,
        };
        report.version = Some(resolved.version.clone());
        line.phase("fetching");
        let started = Instant::now();
        let (kernels, resolved, line) = (
            Arc::clone(&self.kernels),
            resolved.clone(),
            Arc::clone(line),
        );
        let fetch = move || kernels.fetch(&resolved, &*line);
        let kernel = self.interrupt.or_leave(fetch)?;
        report.phases_ms.fetch = Some(ms(started.elapsed()));
        Ok(kernel)
    }

    fn pack(
        &self,
        kernel: &Kernel,
        watch: &Watch<'_>,
        line: &Line,
        report: &mut KernelReport,
    ) -> Result<Vec<u8>> {
        line.phase("packing the initramfs");
        let started = Instant::now();
        let timeout = self.options.scenario_timeout;
        let programs = &watch.plan().programs;
        let (image, warnings) = job::pack(kernel, programs, &watch.rest(), timeout)?;
        add(&mut report.phases_ms.image, started.elapsed());
        for warning in warnings {
            if !report.warnings.contains(&warning) {
                report.warnings.push(warning);
            }
        }
        Ok(image)
    }

    /// Runs VMs until the plan is done or another VM cannot do more.
    fn vms(
        &self,
        kernel: &Kernel,
        (plan, before): (&Plan, u32),
        line: &Line,
        report: &mut KernelReport,
    ) -> Result<()> {
        let options = &self.options;
        let tasks = Tasks::new(plan, options.scenario_timeout, options.icount);
        let is_serial = options.serial || options.icount;
        // With retries, a result is not ok only after the last of them.
        let fail_fast = self.tries.fail_fast && self.tries.retries == 0;
        let watch = Watch::new(plan, report, line, is_serial, tasks);
        let mut watch = watch.ending_with(&self.interrupt, fail_fast);
        let mut image = self.pack(kernel, &watch, line, report)?;
        let accelerator = self.host(kernel.arch)?.accelerator.clone();
        let mut boot = Boot::fastest(&self.kernels, kernel, accelerator.clone(), line)?;
        let mut failures = 0;
        loop {
            report.attempts += 1;
            let ended = self.vm(&boot, &image, &mut watch, line, report);
            let ended = ended.unwrap_or_else(|error| watch.vm_ended(Err(&error)));
            if self.interrupt.stop().requested() {
                break;
            }
            match ended {
                VmEnd::Infra(why) if failures + 1 < ATTEMPTS => {
                    failures += 1;
                    let hint = accelerator.hint();
                    let note = format!("tried once more, because: {why}{hint}");
                    line.note(&note);
                    report.warnings.push(note);
                    boot = Boot::plain(kernel, accelerator.clone());
                }
                VmEnd::Crashed(restart) if !watch.is_complete() => {
                    if report.restarts.len() == MAX_RESTARTS {
                        watch.no_more(&format!("{MAX_RESTARTS} VMs crashed before it"));
                        break;
                    }
                    line.note(&format!("a new VM runs the rest: {}", restart.reason));
                    report.restarts.push(restart);
                }
                _ => break,
            }
            let moved = self.rename_kept_files(&report.requested, before + report.attempts);
            let moved = moved.map(|names| watch.files_renamed(names));
            match moved.and_then(|()| self.pack(kernel, &watch, line, report)) {
                Ok(rest) => image = rest,
                Err(error) => {
                    watch.no_more(&format!("{error:#}"));
                    break;
                }
            }
        }
        watch.conclude(report);
        Ok(())
    }

    /// The folder of the cache.
    pub(super) fn cache_dir(&self) -> &Path {
        self.kernels.cache_dir()
    }

    /// The folder for the files of a kernel's VM, with `--keep`.
    pub(crate) fn keep_dir(&self, requested: &str) -> Option<PathBuf> {
        let dir = self.options.keep.as_ref()?;
        Some(dir.join(folder_name(requested)))
    }

    /// Renames the folder of an attempt, so that the next one does not overwrite it. Returns the path to replace in its
    /// QEMU command, and the new one.
    pub(super) fn rename_kept_files(
        &self,
        requested: &str,
        attempt: u32,
    ) -> Result<Option<[String; 2]>> {
        let Some(kept) = self.keep_dir(requested) else {
            return Ok(None);
        };
        let folder = folder_name(requested);
        let aside = kept.with_file_name(format!("{folder}-attempt-{attempt}"));
        let moved = match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(&kept, &aside),
        };
        match moved {
            // The attempt failed before it wrote a file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            moved => moved.with_context(|| {
                format!("cannot move {} to {}", kept.display(), aside.display())
            })?,
        }
        let names = [folder.clone(), format!("{folder}-attempt-{attempt}")];
        let names = names.map(|name| format!("/{name}/initramfs.cpio"));
        let script = aside.join("run.sh");
        let text = fs::read_to_string(&script).map(|text| text.replace(&names[0], &names[1]));
        text.and_then(|text| fs::write(&script, text))
            .with_context(|| format!("cannot rewrite {}", script.display()))?;
        Ok(Some(names))
    }
}

/// The name of a folder for a kernel, which may be requested by a path or an address.
fn folder_name(requested: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = requested
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    name.trim_matches(['_', '.']).to_owned()
}
