//! The command line.

pub mod all_kernels;
pub mod build;
pub mod cache;
pub mod config;
pub mod exec;
pub mod functions;
mod heading;
pub mod inspect;
pub mod kernels;
pub mod list;
pub mod minimum;
pub mod reports;
pub mod run;
pub mod veristat;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use self::{
    cache::CacheCommand,
    config::ConfigArgs,
    exec::{ExecArgs, ShellArgs},
    functions::FunctionsArgs,
    inspect::InspectArgs,
    kernels::KernelsCommand,
    list::ListArgs,
    minimum::MinimumArgs,
    reports::{CompareArgs, ReportArgs},
    run::RunArgs,
    veristat::VeristatArgs,
};

/// Boots real kernels in QEMU, runs fexit scenarios in them, and reports the results.
///
/// Without a command it is `harness run`. The report goes to stdout as JSON, or to --output; everything for people goes to
/// stderr. A file `harness.toml` in this folder or above it has options that are not given.
#[derive(Debug, Parser)]
#[command(
    name = "harness",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = run::RUN_HELP
)]
pub struct Cli {
    /// The subcommand, if any.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Whether the output for people is coloured.
    #[command(flatten)]
    pub color: colorchoice_clap::Color,
    /// The file with options.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The options of a run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run scenarios, or the programs of objects, on kernels; what the bare `harness` does
    Run(Box<RunArgs>),
    /// List the scenarios and the kernels
    List(ListArgs),
    /// Run a program of the host in a VM
    Exec(ExecArgs),
    /// Open a shell in a VM
    Shell(ShellArgs),
    /// Find the oldest and the newest kernel on which each program of an object works
    Minimum(MinimumArgs),
    /// Load the programs of objects, and print the verifier's figures as a table
    Veristat(VeristatArgs),
    /// Show what an object requires of a kernel, without booting one
    Inspect(InspectArgs),
    /// Show which kernels have a function, and its signatures, without booting one
    Functions(FunctionsArgs),
    /// List, download, verify or build kernels, or update the lock
    Kernels {
        /// The kernels command
        #[command(subcommand)]
        command: KernelsCommand,
    },
    /// List or clear the cache
    Cache {
        /// The cache command
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Compare two reports; exit status 1 on a regression
    Compare(CompareArgs),
    /// Merge reports into one and render it
    Report(ReportArgs),
    /// Print the completions for a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages to a folder, for packagers
    #[command(hide = true)]
    Man {
        /// The folder, which must exist
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

const COMPLETIONS_HELP: &str = "\
Examples:
  harness completions bash > ~/.local/share/bash-completion/completions/harness
  harness completions zsh > ~/.zfunc/_harness            # a folder of $fpath
  harness completions fish > ~/.config/fish/completions/harness.fish";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::options::RunOptions;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["harness"].iter().chain(args))
    }

    #[test]
    fn clap_definition_is_valid() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    /// clap accepts that, and gives the value to both.
    #[test]
    fn no_command_has_an_option_with_the_name_of_a_global_one() {
        use clap::{Command, CommandFactory as _};
        fn check(command: &Command, globals: &[&str]) {
            for own in command.get_arguments().filter(|arg| !arg.is_global_set()) {
                let name = own.get_long().unwrap_or_default();
                assert!(!globals.contains(&name), "{}: --{name}", command.get_name());
            }
            command
                .get_subcommands()
                .for_each(|command| check(command, globals));
        }
        let cli = Cli::command();
        let globals = cli.get_arguments().filter(|arg| arg.is_global_set());
        let globals: Vec<_> = globals.filter_map(|arg| arg.get_long()).collect();
        assert!(globals.contains(&"config"));
        check(&cli, &globals);
    }

    #[test]
    fn lists_are_repeated_or_separated_by_commas() {
        let cli = parse(&[
            "--kernel",
            "5.10,6.1",
            "--kernel",
            "all",
            "-s",
            "attach,un*",
        ])
        .unwrap();
        assert_eq!(cli.run.kernels, ["5.10", "6.1", "all"]);
        assert_eq!(cli.run.scenarios, ["attach", "un*"]);
        assert_eq!(cli.run.options, RunOptions::default());
    }

    #[test]
    fn bare_form_is_the_run_command() {
        let options = ["--kernel", "5.10,6.1", "-s", "attach", "--timeout", "9"];
        let bare = parse(&options).unwrap().run;
        let run = parse(&[&["run"], &options[..]].concat()).unwrap();
        let Some(Command::Run(run)) = run.command else {
            panic!("{run:?}");
        };
        assert_eq!(format!("{bare:?}"), format!("{run:?}"));
        assert!(parse(&["run"]).is_err(), "a run needs a kernel");
    }

    #[test]
    fn subcommands_need_no_kernel_and_a_run_does() {
        assert!(
            parse(&["compare", "a.json", "b.json"])
                .unwrap()
                .command
                .is_some()
        );
        assert!(parse(&["--list"]).unwrap().run.list);
        assert!(
            parse(&["--scenario", "attach"])
                .unwrap_err()
                .to_string()
                .contains("--kernel")
        );
    }

    #[test]
    fn out_of_range_numbers_are_refused() {
        for bad in [
            ["--timeout", "0"],
            ["--timeout", "1e3"],
            ["--timeout", "86401"],
            ["--idle-timeout", "0"],
            ["--jobs", "0"],
        ] {
            let args = ["--kernel", "5.10", bad[0], bad[1]];
            assert_eq!(parse(&args).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }
}
