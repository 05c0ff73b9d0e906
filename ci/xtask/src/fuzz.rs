//! Fuzzing with libFuzzer, with the coverage flags of stable rustc.

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const FUZZ_TARGETS: [&str; 2] = ["object", "btf"];
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// How long to fuzz.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds for each fuzz target
    #[arg(default_value_t = 20)]
    seconds: u32,
}

impl Args {
    pub(crate) fn seconds(seconds: u32) -> Self {
        Self { seconds }
    }
}

/// Fuzzes each target for the given time. An input that fails stays in `target/fuzz/found`.
pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    let work = shell.current_dir().join("target/fuzz");
    let found = shell.create_dir(work.join("found"))?;
    for target in FUZZ_TARGETS {
        shell.create_dir(work.join("corpus").join(target))?;
    }
    cmd!(
        shell,
        "cargo build --release --locked --manifest-path fuzz/Cargo.toml --target {TARGET} --target-dir {work}"
    )
    .env("RUSTFLAGS", COVERAGE)
    .run()?;
    seed_corpus(shell)?;

    for target in FUZZ_TARGETS {
        let seconds = args.seconds.to_string();
        eprintln!("fuzz: {target}, {seconds} s");
        let program = work.join(TARGET).join("release").join(target);
        let corpus = work.join("corpus").join(target);
        let prefix = format!("{}/{target}-", found.display());
        // A real object has a few kilobytes and takes milliseconds, far below these limits.
        let output = cmd!(
            shell,
            "{program} {corpus} -max_total_time={seconds} -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=512
             -artifact_prefix={prefix} -print_final_stats=1 -verbosity=0"
        )
        .quiet()
        .ignore_status()
        .output()?;
        let log = String::from_utf8_lossy(&output.stderr);
        shell.write_file(work.join(format!("{target}.log")), log.as_ref())?;
        let lines: Vec<&str> = log.lines().collect();
        if !output.status.success() {
            let end = lines.len().saturating_sub(30);
            eprintln!("{}", lines[end..].join("\n"));
            bail!(
                "fuzz target `{target}` failed; the input is in {}",
                found.display()
            );
        }
        for line in lines {
            if line.contains("number_of_executed_units") || line.contains("peak_rss_mb") {
                println!("{line}");
            }
        }
    }
    Ok(())
}

/// Seeds the corpus with the objects of the scenarios and the stored BTF.
fn seed_corpus(shell: &Shell) -> Result<()> {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let headers = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    for source in shell.read_dir("images/bpf")? {
        let Some(name) = source.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if let Some(stem) = name.strip_suffix(".bpf.c") {
            let object = format!("target/fuzz/corpus/object/{stem}.bpf.o");
            cmd!(
                shell,
                "{clang} -O2 -g -target bpf -D__TARGET_ARCH_x86 {headers} -c {source} -o {object}"
            )
            .quiet()
            .run()?;
        }
    }
    for seed in shell.read_dir("fuzz/seeds/btf")? {
        shell.copy_file(seed, "target/fuzz/corpus/btf")?;
    }
    Ok(())
}
