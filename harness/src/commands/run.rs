//! A run: boots kernels in parallel, and writes one report.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result};

use crate::{
    cli::{list::ListArgs, run::RunArgs},
    commands::list,
    initramfs::bpf_objects::Programs,
    kernels::{self, Arch, Kernels, source::Kind},
    report::{
        KernelReport, Report, compare::Comparison, file, github, program, summary, terminal::Board,
    },
    session::{
        control::Tries,
        jobs,
        kernel_run::{self, Setup, Target},
        options::RunOptions,
        outputs::Outputs,
        plan::{self, Plan},
        pool, rerun, resolve,
    },
    support::{error::usage, interrupt::Interrupt},
};

const NOT_FINISHED: &str = "the harness ended before this kernel was finished";

/// Runs scenarios on kernels, and returns the exit status.
pub fn run(args: &RunArgs) -> Result<u8> {
    if args.list {
        return list::print(&ListArgs {
            scenarios: args.scenarios.clone(),
            store: args.store.clone(),
        });
    }
    // Usage errors come first, before slow operations.
    let request = Request::new(args)?;
    let mut baseline = args.baseline.as_deref().map(file::read).transpose()?;
    if let Some(baseline) = &mut baseline {
        narrow(baseline, args, &request);
    }
    let outputs = Outputs::prepare(&args.outputs)?;
    let Ran {
        report,
        error,
        interrupt,
        board,
    } = request.run(args, &outputs)?;
    // There is a report in any case. It lists every kernel and every scenario.
    match (error, outputs.finish(&report)) {
        (None, written) => written?,
        (Some(why), Ok(())) => return Err(why),
        (Some(why), Err(also)) => return Err(why.context(format!("{also:#}; before that"))),
    }
    github::annotate(&report.kernels);
    let baseline = baseline
        .as_ref()
        .map(|report| (report, args.verifier_growth));
    let judged = show(&report, baseline, &board);
    Ok(interrupt.exit_code().unwrap_or(judged))
}

/// What is to run, checked against the objects and the list of kernels.
pub(super) struct Request {
    kernels: Arc<Kernels>,
    /// All programs, which the report lists.
    programs: Programs,
    parts: Vec<(Kernel, Plan)>,
    /// The report of `--rerun-failed`.
    earlier: Option<Report>,
}

/// A kernel that was requested.
enum Kernel {
    Named(String),
    Own(Box<Target>),
}

/// A run that ended.
pub(super) struct Ran {
    pub(super) report: Report,
    /// Why no kernel was run.
    pub(super) error: Option<anyhow::Error>,
    pub(super) interrupt: Interrupt,
    pub(super) board: Board,
}

impl Request {
    /// Every error is a usage error, or the cache cannot be read.
    pub(super) fn new(args: &RunArgs) -> Result<Self> {
        let kernels = Arc::new(Kernels::open(args.store.clone())?);
        let named = match args.kernels.as_slice() {
            [] => Vec::new(),
            kernel_names => kernels.expand(kernel_names)?,
        };
        let own = args.kernel_image.as_deref();
        let own = own.map(|image| kernel_run::own(image, args.modules.as_deref()));
        let own = own.transpose()?;
        let earlier = args.control.rerun_failed.as_deref();
        let earlier = earlier.map(file::read).transpose()?;
        let arches = named.iter().map(|name| Arch::of_name(name));
        let arches = arches.chain(own.iter().map(Target::arch));
        let mut arches: BTreeSet<_> = arches.collect();
        if arches.is_empty() {
            let again = earlier.iter().flat_map(|report| &report.kernels);
            arches.extend(again.map(|kernel| kernel.arch));
        }
        let programs = Programs::plan(&args.objects, &arches)?;
        let plan = match &earlier {
            Some(report) if args.scenarios.is_empty() => rerun::plan(report, programs.clone())?,
            _ => Plan {
                // With --object and without --scenario, only the programs run.
                planned: match programs.planned().is_empty() || !args.scenarios.is_empty() {
                    true => plan::select(&args.scenarios)?,
                    false => Vec::new(),
                },
                programs: programs.clone(),
            },
        };
        let parts = match &earlier {
            Some(report) => again(report, &plan, &named, own.as_ref(), args)?,
            None => {
                let named = named.into_iter().map(Kernel::Named);
                let all = named.chain(own.map(Kernel::own));
                all.map(|kernel| (kernel, plan.clone())).collect()
            }
        };
        Ok(Self {
            kernels,
            programs,
            parts: match args.control.shard {
                Some(shard) => shard.select(parts),
                None => parts,
            },
            earlier,
        })
    }

    /// Runs all kernels. The report has each of them in any case.
    pub(super) fn run(self, args: &RunArgs, outputs: &Outputs) -> Result<Ran> {
        if let Some(keep) = &args.options.keep {
            fs::create_dir_all(keep)
                .map_err(|e| usage(format!("--keep cannot use {}: {e}", keep.display())))?;
        }
        let interrupt = Interrupt::new().context("cannot listen for signals")?;
        let board = Board::new(args.verbose);
        let mut targets = targets(&self.kernels, self.parts, &board, &interrupt)?;
        for target in &mut targets {
            target.vendor = args.vendor;
            let earlier = self.earlier.as_ref();
            target.earlier = earlier
                .and_then(|report| report.kernel(&target.name))
                .cloned();
        }
        let plans = targets.iter();
        let plans: Vec<_> = plans
            .map(|target| (target.name.clone(), target.plan.clone()))
            .collect();
        let unfinished = |why: &str| {
            let kernels = plans.iter().map(|(name, plan)| plan.not_run(name, why));
            let mut report = Report::new(kernels.collect());
            report.objects = program::objects(&self.programs);
            report.shard = args.control.shard.map(|shard| shard.to_string());
            report.conclude();
            report
        };
        let is_rerun = self.earlier.is_some();
        let mut report = self.earlier.unwrap_or_else(|| unfinished(NOT_FINISHED));
        let tries = args.control.tries;
        if targets.is_empty() {
            board.say("nothing is to run");
            return Ok(Ran {
                report,
                error: None,
                interrupt,
                board,
            });
        }
        let setup = Setup::new(
            &args.options,
            tries,
            &interrupt,
            self.kernels,
            &board,
            &targets,
        );
        let ran = setup.map(|setup| {
            let jobs = args.options.jobs.map_or_else(jobs::default, usize::from);
            pool::run(&Arc::new(setup), jobs, targets, &mut report, outputs);
        });
        if let Err(error) = &ran
            && !is_rerun
        {
            report = unfinished(&format!("{error:#}"));
        }
        if interrupt.stop().requested() {
            for (kernel, (_, plan)) in report.kernels.iter_mut().zip(&plans) {
                if kernel.error.as_deref() == Some(NOT_FINISHED) {
                    *kernel = plan.not_run(&kernel.requested, &interrupt.why());
                }
            }
        }
        Ok(Ran {
            report,
            error: ran.err(),
            interrupt,
            board,
        })
    }
}

impl Kernel {
    fn own(target: Target) -> Self {
        Self::Own(Box::new(target))
    }

    fn name(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Own(target) => &target.name,
        }
    }
}

/// What must run again, on the kernels of the report, or on those of them that the command line names.
fn again(
    report: &Report,
    plan: &Plan,
    named: &[String],
    own: Option<&Target>,
    args: &RunArgs,
) -> Result<Vec<(Kernel, Plan)>> {
    let asked = named.iter().chain(own.map(|own| &own.name));
    if let Some(name) = asked.clone().find(|name| report.kernel(name).is_none()) {
        return Err(usage(format!(
            "--rerun-failed: the report does not have the kernel {name}"
        )));
    }
    let asked: Vec<_> = asked.cloned().collect();
    let is_asked = |name: &String| asked.is_empty() || asked.contains(name);
    let local = |name: &str| {
        let source = report
            .kernel(name)
            .and_then(|kernel| kernel.source.as_ref());
        source.is_some_and(|source| source.kind == Kind::Local)
    };
    let parts = rerun::parts(report, plan).into_iter();
    let parts = parts
        .filter(|(name, _)| is_asked(name))
        .map(|(name, plan)| {
            let kernel = match local(&name) {
                true => Kernel::own(kernel_run::own(Path::new(&name), args.modules.as_deref())?),
                false => Kernel::Named(name),
            };
            Ok((kernel, plan))
        });
    parts.collect()
}

/// Resolves the named kernels.
fn targets(
    kernels: &Arc<Kernels>,
    parts: Vec<(Kernel, Plan)>,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<Vec<Target>> {
    let named = parts.iter().filter_map(|(kernel, _)| match kernel {
        Kernel::Named(name) => Some(name.clone()),
        Kernel::Own(_) => None,
    });
    let named: Vec<_> = named.collect();
    let mut resolved = resolve::resolve(kernels, &named, board, interrupt)?.into_iter();
    let target = |(kernel, plan)| {
        let mut target = match kernel {
            Kernel::Own(target) => *target,
            Kernel::Named(_) => resolved.next()?,
        };
        target.plan = plan;
        Some(target)
    };
    Ok(parts.into_iter().filter_map(target).collect())
}

/// Runs these scenarios on one local kernel, with the default options.
pub fn boot(
    kernel: &kernels::Kernel,
    scenarios: &[&str],
    kernels: Kernels,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<KernelReport> {
    let ids: Vec<_> = scenarios.iter().map(|&id| id.to_owned()).collect();
    let planned = plan::select(&ids)?;
    let (options, kernels) = (RunOptions::default(), Arc::new(kernels));
    let mut target = Target::local(kernel.clone());
    target.plan.planned = planned;
    let targets = [target];
    let setup = Setup::new(
        &options,
        Tries::default(),
        interrupt,
        kernels,
        board,
        &targets,
    )?;
    Ok(setup.run(&targets[0]))
}

/// Removes from a baseline what this run does not include: scenarios that `--scenario` or `--shard` does not select, or all
/// scenarios in a run of objects only; programs in a run of scenarios only. A rerun includes what its report has.
fn narrow(baseline: &mut Report, args: &RunArgs, request: &Request) {
    let objects = !args.objects.objects.is_empty() || args.objects.command.is_some();
    let by_name = !args.scenarios.is_empty();
    let shard = args.control.shard.is_some();
    for kernel in &mut baseline.kernels {
        if let Some(earlier) = &request.earlier {
            let earlier = earlier.kernel(&kernel.requested);
            let has = |id: &str| earlier.is_some_and(|earlier| earlier.result(id).is_some());
            kernel.scenarios.retain(|scenario| has(&scenario.id));
            kernel.programs.retain(|program| has(&program.id()));
            continue;
        }
        let mut parts = request.parts.iter();
        let part = parts.find(|(part, _)| part.name() == kernel.requested);
        let Some((_, plan)) = part else { continue };
        if by_name || objects || shard {
            let asked = |id: &str| plan.planned.iter().any(|scenario| scenario.id == id);
            kernel.scenarios.retain(|scenario| asked(&scenario.id));
        }
        if (by_name && !objects) || (shard && plan.programs.planned().is_empty()) {
            kernel.programs.clear();
        }
    }
}

/// Shows the result, and returns its exit status.
pub(super) fn show(report: &Report, baseline: Option<(&Report, Option<f64>)>, board: &Board) -> u8 {
    summary::lines(report)
        .iter()
        .for_each(|line| board.show(line));
    let Some((baseline, verifier_growth)) = baseline else {
        return report.verdict.exit_code();
    };
    let comparison = Comparison::new(baseline, report, verifier_growth);
    board.say(format_args!("\nagainst the baseline:\n{comparison}"));
    comparison.exit_code()
}
