//! One kernel being built.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};

use super::collect;
use super::config::{Config, Symbols};
use super::inputs::Inputs;
use super::make::Make;
use super::names::Names;
use super::origin::Origin;
use super::workarounds::{self, Workaround};
use super::{tools, tree, vendor};
use crate::kernels::cache::{Lookup, write_atomically};
use crate::kernels::files::manifest::{self, Record};
use crate::kernels::source::{Build, Kind, Resolved, Source};
use crate::kernels::{Kernel, Kernels, fetch};
use crate::support::progress::Progress;
use crate::support::{atomic, stop::Stop};

/// Boots a kernel and tests fexit in it. Returns the scenarios with their outcomes, or why it does not work.
pub type Prove<'a> = &'a dyn Fn(&Kernel) -> Result<Vec<String>>;

/// A kernel that is being built.
pub(super) struct BuildContext<'a> {
    kernels: &'a Kernels,
    jobs: Option<u16>,
    stop: &'a Stop,
    /// The folder of this build.
    dir: &'a Path,
    names: Names,
    config: Config,
    /// The text of the configuration to start from.
    base: String,
    resolved: Resolved,
}

impl<'a> BuildContext<'a> {
    pub(super) fn new(
        kernels: &'a Kernels,
        inputs: &Inputs,
        (jobs, stop): (Option<u16>, &'a Stop),
        origin: &Origin,
        names: Names,
        tree: &Path,
        dir: &'a Path,
    ) -> Result<Self> {
        let symbols = Symbols::read(tree)?;
        let workarounds = workarounds::of(tree)?;
        let config = inputs.config(&symbols, &workarounds)?;
        let (base_config, base) = inputs.base(tree)?.unzip();

        let mut make = vec![
            format!("LOCALVERSION={}", names.local_version),
            "KBUILD_BUILD_USER=harness".to_owned(),
            "KBUILD_BUILD_HOST=fexit".to_owned(),
        ];
        for workaround in &workarounds {
            make.extend(workaround.variables().iter().cloned());
        }
        let tools = &inputs.tools;
        let flags = workarounds::pahole_flags(&workarounds, tools.pahole_number());
        let pahole = workarounds::wrap_pahole(dir, &flags)?;
        make.push(format!("PAHOLE={}", pahole.display()));
        // The last setting of a variable counts.
        make.extend(inputs.make.iter().cloned());

        let mut artifact = origin.artifact.clone();
        artifact.version.clone_from(&names.version);
        let build = Build {
            inputs_digest: inputs.digest(),
            compiler: tools.compiler.clone(),
            linker: tools.linker.clone(),
            pahole: tools.pahole.clone(),
            vendor: vendor::tag(tree)?,
            base_config: base_config.map(|path| path.display().to_string()),
            make,
            pahole_flags: flags.into_iter().map(str::to_owned).collect(),
            workarounds: workarounds.iter().map(Workaround::explained).collect(),
            proof: Vec::new(),
        };
        Ok(Self {
            kernels,
            jobs,
            stop,
            dir,
            config,
            base: base.unwrap_or_default(),
            resolved: Resolved {
                requested: names.release(),
                series: names.series.clone(),
                version: names.version.clone(),
                source: Source {
                    kind: Kind::Built,
                    name: origin.name().to_owned(),
                    package_version: names.release(),
                    artifacts: vec![artifact],
                    verified_by: origin.verified_by.clone(),
                    notes: Vec::new(),
                    build: Some(build),
                },
            },
            names,
        })
    }

    pub(super) fn build(
        mut self,
        tree: &Path,
        progress: &dyn Progress,
        prove: Prove<'_>,
    ) -> Result<Kernel> {
        let is = tree::version(tree)?;
        if is != self.names.version {
            bail!("the source of {} is Linux {is}", self.names.version);
        }
        let out = self.dir.join("out");
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let log = self.dir.join("build.log");
        let make = Make {
            tree,
            out: &out,
            variables: self
                .info()
                .map_or_else(Vec::new, |build| build.make.clone()),
            log: &log,
            stop: self.stop,
            progress,
        };
        self.configure(&make, progress)?;

        let jobs = match self.jobs {
            Some(jobs) => jobs.into(),
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        progress.note(&format!(
            "compiling {} with {jobs} jobs; the log is {}",
            self.names.release(),
            log.display()
        ));
        make.run(&["bzImage", "modules"], &[format!("-j{jobs}")])
            .with_context(|| self.how_to_continue())?;
        let stage = self.dir.join("kernel");
        atomic::remove(&stage)?;
        fs::create_dir(&stage).with_context(|| format!("cannot create {}", stage.display()))?;
        let into = [
            format!("INSTALL_MOD_PATH={}", stage.display()),
            "INSTALL_MOD_STRIP=1".to_owned(),
        ];
        make.run(&["modules_install"], &into)?;
        fs::copy(&log, stage.join("build.log")).context("cannot copy the log")?;
        let records = collect::collect(&out, &stage)?;
        self.keep(&stage, &records, progress, prove)
    }

    /// Requests the options, and checks that the kernel accepts them.
    fn configure(&self, make: &Make<'_>, progress: &dyn Progress) -> Result<()> {
        let info = self.info();
        let from = info.and_then(|build| build.base_config.as_ref());
        let from = from.map_or_else(String::new, |path| format!(" from {path}"));
        progress.note(&format!("configuring {}{from}", self.names.release()));
        for workaround in info.map_or(&[][..], |build| &build.workarounds) {
            progress.note(&format!("workaround {workaround}"));
        }
        let path = make.out.join(".config");
        write_atomically(&path, self.config.on(&self.base).as_bytes())?;
        make.run(&["olddefconfig"], &[])?;
        let made =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lost = self.config.lost(&made);
        if !lost.is_empty() {
            bail!(
                "{} does not accept these options: {}",
                self.names.release(),
                lost.join(", ")
            );
        }
        tools::check_for(&made)
    }

    /// Tests the kernel, and adds it to the cache.
    fn keep(
        &mut self,
        stage: &Path,
        records: &[Record],
        progress: &dyn Progress,
        prove: Prove<'_>,
    ) -> Result<Kernel> {
        let identity = fetch::check(stage, records)?;
        let modules = stage.join("lib/modules").join(&identity.release);
        let image = stage.join("vmlinuz");
        let sha256 = manifest::hash_file(&image)?;
        let kernel = Kernel {
            requested: identity.release.clone(),
            arch: identity.arch,
            release: identity.release.clone(),
            version: self.names.version.clone(),
            image,
            sha256,
            modules: modules.exists().then_some(modules),
            config: Some(stage.join("config")),
            source: self.resolved.source.clone(),
        };
        progress.note("built; testing that fexit works in it, or is refused below 5.5");
        let proof = prove(&kernel).with_context(|| {
            format!(
                "{} was built, but is not in the cache, because fexit does not work in it; its files are in {}",
                identity.release,
                stage.display()
            )
        })?;
        if let Some(build) = &mut self.resolved.source.build {
            build.proof = proof;
        }
        self.resolved.requested.clone_from(&identity.release);
        let cache = &self.kernels.cache;
        // A release means one kernel.
        for earlier in cache.builds(&self.names.series, &self.names.release()) {
            atomic::remove(&cache.entry_dir(&earlier.resolved("")))?;
        }
        cache.publish(stage, records, identity, &self.resolved)?;
        match cache.lookup(&self.resolved, false)? {
            Lookup::Ready(kernel) => Ok(*kernel),
            _ => bail!("the kernel is missing from the cache after it was written"),
        }
    }

    fn info(&self) -> Option<&Build> {
        self.resolved.source.build.as_ref()
    }

    fn how_to_continue(&self) -> String {
        format!(
            "{} was not built; the same command continues, with --again it starts anew",
            self.names.release()
        )
    }
}
