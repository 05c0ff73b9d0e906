//! A run: boots kernels in parallel, and writes one report.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result};
use protocol::scenario::Scenario;

use crate::{
    cli::{list::ListArgs, run::RunArgs},
    commands::list,
    initramfs::bpf_objects::Programs,
    kernels::{Kernel, Kernels},
    report::{KernelReport, Report, compare::Comparison, file, github, summary, terminal::Board},
    session::{
        jobs,
        kernel_run::{self, Setup, Target},
        options::RunOptions,
        outputs::Outputs,
        plan::{self, Plan},
        pool, resolve,
    },
    support::{
        error::usage,
        interrupt::{INTERRUPTED, Interrupt},
    },
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
        narrow(baseline, args, &request.plan.planned);
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
    plan: Plan,
    kernels: Arc<Kernels>,
    named: Vec<String>,
    own: Option<Target>,
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
        let programs = Programs::plan(&args.objects)?;
        // With --object and without --scenario, only the programs run.
        let planned = if programs.planned().is_empty() || !args.scenarios.is_empty() {
            plan::select(&args.scenarios)?
        } else {
            Vec::new()
        };
        let kernels = Arc::new(Kernels::open(args.store.clone())?);
        let named = match args.kernels.as_slice() {
            [] => Vec::new(),
            kernel_names => kernels.expand(kernel_names)?,
        };
        let own = args.kernel_image.as_deref();
        let own = own.map(|image| kernel_run::own(image, args.modules.as_deref()));
        Ok(Self {
            plan: Plan { planned, programs },
            kernels,
            named,
            own: own.transpose()?,
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
        let mut targets = resolve::resolve(&self.kernels, &self.named, &board, &interrupt)?;
        targets.extend(self.own);
        for target in &mut targets {
            target.vendor = args.vendor;
        }
        let names: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
        let plan = self.plan;
        let mut report = plan.unfinished(&names, NOT_FINISHED);
        let setup = Setup::new(&args.options, &plan, &interrupt, self.kernels, &board);
        let ran = setup.map(|setup| {
            let jobs = args.options.jobs.map_or_else(jobs::default, usize::from);
            pool::run(&Arc::new(setup), jobs, targets, &mut report, outputs);
        });
        if let Err(error) = &ran {
            report = plan.unfinished(&names, &format!("{error:#}"));
        }
        if interrupt.stop().requested() {
            for kernel in &mut report.kernels {
                if kernel.error.as_deref() == Some(NOT_FINISHED) {
                    *kernel = plan.not_run(&kernel.requested, INTERRUPTED);
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

/// Runs these scenarios on one local kernel, with the default options.
pub fn boot(
    kernel: &Kernel,
    scenarios: &[&str],
    kernels: Kernels,
    board: &Board,
    interrupt: &Interrupt,
) -> Result<KernelReport> {
    let ids: Vec<_> = scenarios.iter().map(|&id| id.to_owned()).collect();
    let planned = plan::select(&ids)?;
    let plan = Plan {
        planned,
        programs: Programs::default(),
    };
    let setup = Setup::new(
        &RunOptions::default(),
        &plan,
        interrupt,
        Arc::new(kernels),
        board,
    )?;
    Ok(setup.run(&Target::local(kernel.clone())))
}

/// Removes from a baseline what this run does not include: scenarios that `--scenario` does not select, or all scenarios
/// in a run of objects only; programs in a run of scenarios only.
fn narrow(baseline: &mut Report, args: &RunArgs, planned: &[Scenario]) {
    let objects = !args.objects.objects.is_empty() || args.objects.command.is_some();
    let by_name = !args.scenarios.is_empty();
    for kernel in &mut baseline.kernels {
        if by_name || objects {
            let asked = |id: &str| planned.iter().any(|scenario| scenario.id == id);
            kernel.scenarios.retain(|scenario| asked(&scenario.id));
        }
        if by_name && !objects {
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
