//! Kernels that nobody publishes ready for fexit, built here.
//!
//! A build has a folder of its own in the cache, named after the checksum of its source. It stays until the build has
//! succeeded, so that one that was interrupted goes on where it was; whatever is under a final name in it is complete.

mod collect;
mod config;
mod group;
mod make;
mod order;
mod origin;
mod range;
mod tools;
mod tree;
mod workarounds;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fexit::KernelVersion;

pub use order::Order;
pub use tools::Tools;

use self::config::{Config, FRAGMENTS};
use self::make::Make;
use self::origin::Origin;
use self::workarounds::Workaround;
use super::cache::{Lookup, write_atomically};
use super::{Kernel, Kernels, fetch};
use crate::kernels::files::manifest::{self, Record};
use crate::kernels::source::{Artifact, Build, Kind, Resolved, Source};
use crate::support::error::usage;
use crate::support::progress::{Notes, Progress};

/// What `uname -r` of a kernel that was built here ends with.
pub const BUILT: &str = "-built";

/// Boots a kernel, and says what is wrong if fexit does not work in it; otherwise what it did.
pub type Prove<'a> = &'a dyn Fn(&Kernel) -> Result<Vec<String>>;

/// A kernel that is in the cache now.
#[derive(Clone, Debug)]
pub struct Built {
    /// It.
    pub kernel: Kernel,
    /// It had been built before.
    pub was_there: bool,
}

impl Kernels {
    /// Builds a kernel, and keeps it if `prove` finds nothing wrong with it.
    pub fn build(
        &self,
        order: &Order<'_>,
        progress: &dyn Progress,
        prove: Prove<'_>,
    ) -> Result<Built> {
        let notes = Notes::new(progress);
        let mut origin = Origin::find(self, order, &notes)?;
        let dir = self.cache.build_dir(&origin.artifact)?;
        if dir.to_string_lossy().contains([' ', ':']) {
            return Err(usage(format!(
                "kernels cannot be built below a folder with a blank or a colon in its name ({}): use --cache-dir",
                dir.display()
            )));
        }
        let _guard = self.cache.lock(&lock_name(&dir), || {
            progress.note("waiting for another harness that is building it");
        })?;
        if order.again && dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let version = match origin.version() {
            Some(version) => version.to_owned(),
            None => tree::version(&origin.tree(self, &dir, order, &notes)?)?,
        };
        let mut context = BuildContext::new(self, order, &origin, &version, &dir)?;
        let kernel = match self.built_before(&context)?.filter(|_| !order.again) {
            Some(kernel) => Built {
                kernel,
                was_there: true,
            },
            None => {
                let tree = origin.tree(self, &dir, order, &notes)?;
                context.found(origin.artifact);
                Built {
                    kernel: context.build(&tree, progress, prove)?,
                    was_there: false,
                }
            }
        };
        remove(&dir)?;
        Ok(kernel)
    }

    /// The kernel, if it is in the cache and was built in the very same way.
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

/// A failure here would only leave something to be removed by the next build.
fn remove(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

fn lock_name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("build-{name}")
}

/// One kernel being built.
struct BuildContext<'a> {
    kernels: &'a Kernels,
    order: &'a Order<'a>,
    dir: &'a Path,
    config: Config,
    workarounds: Vec<Workaround>,
    variables: Vec<String>,
    resolved: Resolved,
}

impl<'a> BuildContext<'a> {
    fn new(
        kernels: &'a Kernels,
        order: &'a Order<'a>,
        origin: &Origin,
        version: &str,
        dir: &'a Path,
    ) -> Result<Self> {
        let number: KernelVersion = version.parse()?;
        let series = number.series().to_string();
        if kernels.matrix.find(&series).is_none() {
            return Err(usage(format!(
                "{} is Linux {version}, and kernels.toml has no series {series} by which it could be called",
                origin.artifact.package
            )));
        }
        check_wanted(order, version, &series)?;

        let tools = order.tools;
        let workarounds = workarounds::of(number)?;
        let mut config = Config::default();
        for (name, text) in FRAGMENTS {
            config.add(name, text, number)?;
        }
        for workaround in &workarounds {
            workaround.configure(&mut config, number)?;
        }
        for path in order.fragments {
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
            order,
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

    /// Where the source was downloaded from is known only now.
    fn found(&mut self, mut artifact: Artifact) {
        artifact.version.clone_from(&self.resolved.version);
        self.resolved.source.artifacts = vec![artifact];
    }

    fn build(mut self, tree: &Path, progress: &dyn Progress, prove: Prove<'_>) -> Result<Kernel> {
        let is = tree::version(tree)?;
        if is != self.resolved.version {
            bail!(
                "the source of {} says that it is {is}",
                self.resolved.version
            );
        }
        let out = self.dir.join("out");
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let log = self.dir.join("build.log");
        let make = Make {
            tree,
            out: &out,
            variables: self.variables.clone(),
            log: &log,
            stop: self.order.stop,
            progress,
        };
        self.configure(&make, progress)?;

        let jobs = self.order.jobs;
        progress.note(&format!(
            "compiling {} with {jobs} jobs; the log is {}",
            self.resolved.version,
            log.display()
        ));
        make.run(&["bzImage", "modules"], &[format!("-j{jobs}")])
            .with_context(|| self.how_to_go_on())?;
        let stage = self.dir.join("kernel");
        if stage.exists() {
            remove(&stage)?;
        }
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

    /// Asks for the options, and makes sure that they are there.
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
                "{} cannot be configured as it was asked to be: {}",
                self.resolved.version,
                lost.join(", ")
            );
        }
        Ok(())
    }

    /// Makes it a cached kernel, if it is a good one.
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
                "{} was built, but does not count: it is in {}, and not in the cache",
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

    fn how_to_go_on(&self) -> String {
        format!(
            "{} was not built; the same command goes on where it stopped, with --again from the start",
            self.resolved.version
        )
    }
}

/// What the user called a source of their own must be what it says of itself.
fn check_wanted(order: &Order<'_>, version: &str, series: &str) -> Result<()> {
    match (order.source, order.kernel) {
        (Some(source), Some(wanted)) if wanted != version && wanted != series => {
            Err(usage(format!(
                "--source {} is Linux {version}, not {wanted}",
                source.display()
            )))
        }
        _ => Ok(()),
    }
}
