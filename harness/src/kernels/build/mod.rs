//! Builds kernels for which no distribution has packages with fexit.
//!
//! Each build has a folder in the cache, named after the checksum of its source. The folder stays until the build has
//! succeeded, so that an interrupted build continues; a file under its final name is complete.

mod collect;
mod config;
mod group;
mod make;
mod options;
mod origin;
mod tools;
mod tree;
mod workarounds;

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};
use fexit::KernelVersion;

pub use options::BuildOptions;
pub use tools::Tools;

use self::config::{Config, FRAGMENTS};
use self::make::Make;
use self::origin::Origin;
use self::workarounds::Workaround;
use super::cache::{Lookup, write_atomically};
use super::{Kernel, Kernels, fetch};
use crate::kernels::files::manifest::{self, Record};
use crate::kernels::source::{Artifact, BUILT, Build, Kind, Resolved, Source};
use crate::support::progress::{Notes, Progress};
use crate::support::{atomic, error::usage, stop::Stop};

/// Boots a kernel and tests fexit in it. Returns the scenarios with their outcomes, or why it does not work.
pub type Prove<'a> = &'a dyn Fn(&Kernel) -> Result<Vec<String>>;

/// A kernel that is in the cache now.
#[derive(Clone, Debug)]
pub struct Built {
    /// The kernel.
    pub kernel: Kernel,
    /// An earlier command built it.
    pub was_there: bool,
}

impl Kernels {
    /// Builds a kernel, and adds it to the cache if `prove` succeeds.
    pub fn build(
        &self,
        options: &BuildOptions,
        tools: &Tools,
        stop: &Stop,
        progress: &dyn Progress,
        prove: Prove<'_>,
    ) -> Result<Built> {
        let notes = Notes::new(progress);
        let mut origin = Origin::find(self, options, stop, &notes)?;
        let dir = self.cache.build_dir(&origin.artifact)?;
        if dir.to_string_lossy().contains([' ', ':']) {
            return Err(usage(format!(
                "a kernel cannot be built in {}: the path contains a blank or a colon. Name another cache with --cache-dir",
                dir.display()
            )));
        }
        let _guard = self.cache.lock(&lock_name(&dir), || {
            progress.note("waiting for another harness that is building it");
        })?;
        if options.again {
            atomic::remove(&dir)?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let version = match origin.version() {
            Some(version) => version.to_owned(),
            None => tree::version(&origin.tree(self, &dir, stop, &notes)?)?,
        };
        let mut context = BuildContext::new(self, (options, tools, stop), &origin, &version, &dir)?;
        let kernel = match self.built_before(&context)?.filter(|_| !options.again) {
            Some(kernel) => Built {
                kernel,
                was_there: true,
            },
            None => {
                let tree = origin.tree(self, &dir, stop, &notes)?;
                context.found(origin.artifact);
                Built {
                    kernel: context.build(&tree, progress, prove)?,
                    was_there: false,
                }
            }
        };
        atomic::remove(&dir)?;
        Ok(kernel)
    }

    /// The kernel, if the cache has one with the same inputs.
    fn built_before(&self, context: &BuildContext<'_>) -> Result<Option<Kernel>> {
        let Lookup::Ready(kernel) = self.cache.lookup(&context.resolved, false)? else {
            return Ok(None);
        };
        let entry = self.cache.entry(&context.resolved)?;
        let inputs_digest = entry
            .and_then(|entry| entry.source.build)
            .map(|b| b.inputs_digest);
        Ok((inputs_digest.as_deref() == Some(context.inputs_digest())).then_some(*kernel))
    }
}

fn lock_name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("build-{name}")
}

/// One kernel being built.
struct BuildContext<'a> {
    kernels: &'a Kernels,
    options: &'a BuildOptions,
    stop: &'a Stop,
    dir: &'a Path,
    config: Config,
    workarounds: Vec<Workaround>,
    variables: Vec<String>,
    resolved: Resolved,
}

impl<'a> BuildContext<'a> {
    fn new(
        kernels: &'a Kernels,
        (options, tools, stop): (&'a BuildOptions, &Tools, &'a Stop),
        origin: &Origin,
        version: &str,
        dir: &'a Path,
    ) -> Result<Self> {
        let number: KernelVersion = version.parse()?;
        let series = number.series().to_string();
        if kernels.matrix.find(&series).is_none() {
            return Err(usage(format!(
                "{} is Linux {version}, but kernels.toml has no series {series}: add it there",
                origin.artifact.package
            )));
        }
        check_version(options, version, &series)?;

        let workarounds = workarounds::of(number)?;
        let mut config = Config::default();
        for (name, text) in FRAGMENTS {
            config.add(name, text, number)?;
        }
        for workaround in &workarounds {
            workaround.configure(&mut config, number)?;
        }
        for path in &options.config {
            let name = path.display().to_string();
            let text = fs::read_to_string(path)
                .map_err(|e| usage(format!("--config {name} cannot be read: {e}")))?;
            config
                .add(&name, &text, number)
                .map_err(|e| usage(format!("{e:#}")))?;
        }

        let mut variables = vec![
            format!("LOCALVERSION={BUILT}"),
            "KBUILD_BUILD_USER=harness".to_owned(),
            "KBUILD_BUILD_HOST=fexit".to_owned(),
        ];
        for workaround in &workarounds {
            variables.extend(workaround.variables().iter().cloned());
        }
        let flags = workarounds::pahole_flags(&workarounds, tools.pahole_number());
        let pahole = workarounds::wrap_pahole(dir, &flags)?;
        variables.push(format!("PAHOLE={}", pahole.display()));

        let mut artifact = origin.artifact.clone();
        artifact.version = version.to_owned();
        let mut build = Build {
            inputs_digest: String::new(),
            compiler: tools.compiler.clone(),
            linker: tools.linker.clone(),
            pahole: tools.pahole.clone(),
            make: variables.clone(),
            pahole_flags: flags.into_iter().map(str::to_owned).collect(),
            workarounds: workarounds.iter().map(Workaround::explained).collect(),
            proof: Vec::new(),
        };
        build.inputs_digest = manifest::digest(
            format!("{}\n{}", config.to_text(), serde_json::to_string(&build)?).as_bytes(),
        );
        Ok(Self {
            kernels,
            options,
            stop,
            dir,
            config,
            workarounds,
            variables,
            resolved: Resolved {
                requested: version.to_owned(),
                series,
                version: version.to_owned(),
                source: Source {
                    kind: Kind::Built,
                    name: origin.name().to_owned(),
                    package_version: format!("{version}{BUILT}"),
                    artifacts: vec![artifact],
                    verified_by: origin.verified_by.clone(),
                    notes: Vec::new(),
                    build: Some(build),
                },
            },
        })
    }

    fn inputs_digest(&self) -> &str {
        let build = self.resolved.source.build.as_ref();
        build.map_or("", |build| &build.inputs_digest)
    }

    /// Records where the source was downloaded from.
    fn found(&mut self, mut artifact: Artifact) {
        artifact.version.clone_from(&self.resolved.version);
        self.resolved.source.artifacts = vec![artifact];
    }

    fn build(mut self, tree: &Path, progress: &dyn Progress, prove: Prove<'_>) -> Result<Kernel> {
        let is = tree::version(tree)?;
        if is != self.resolved.version {
            bail!("the source of {} is Linux {is}", self.resolved.version);
        }
        let out = self.dir.join("out");
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let log = self.dir.join("build.log");
        let make = Make {
            tree,
            out: &out,
            variables: self.variables.clone(),
            log: &log,
            stop: self.stop,
            progress,
        };
        self.configure(&make, progress)?;

        let jobs = match self.options.jobs {
            Some(jobs) => jobs.into(),
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        progress.note(&format!(
            "compiling {} with {jobs} jobs; the log is {}",
            self.resolved.version,
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
        progress.note(&format!("configuring {}", self.resolved.version));
        for Workaround { name, .. } in &self.workarounds {
            progress.step(&format!("work-around {name}"));
        }
        let path = make.out.join(".config");
        write_atomically(&path, self.config.to_text().as_bytes())?;
        make.run(&["olddefconfig"], &[])?;
        let made =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lost = self.config.lost(&made);
        if !lost.is_empty() {
            bail!(
                "{} does not accept these options: {}",
                self.resolved.version,
                lost.join(", ")
            );
        }
        Ok(())
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
            release: identity.release.clone(),
            version: self.resolved.version.clone(),
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
        cache.publish(stage, records, identity, &self.resolved)?;
        match cache.lookup(&self.resolved, false)? {
            Lookup::Ready(kernel) => Ok(*kernel),
            _ => bail!("the kernel is missing from the cache after it was written"),
        }
    }

    fn how_to_continue(&self) -> String {
        format!(
            "{} was not built; the same command continues, with --again it starts anew",
            self.resolved.version
        )
    }
}

/// Refuses a --source whose version is not the one that the user named.
fn check_version(options: &BuildOptions, version: &str, series: &str) -> Result<()> {
    match (&options.source, &options.kernel) {
        (Some(source), Some(requested)) if requested != version && requested != series => {
            Err(usage(format!(
                "--source {} is Linux {version}, not {requested}",
                source.display()
            )))
        }
        _ => Ok(()),
    }
}
