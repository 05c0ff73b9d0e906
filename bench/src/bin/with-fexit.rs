//! With fexit; with the environment variable `UNCHECKED` without the check for ambiguous names.

use anyhow::Result;
use bench::Job;
use fexit::programs::{FExit, Target};
use fexit::{AmbiguityPolicy, Btf, EbpfLoader};

fn main() -> Result<()> {
    let mut job = Job::from_args()?;
    let ambiguity = match std::env::var_os("UNCHECKED") {
        Some(_) => AmbiguityPolicy::BtfOnly,
        None => AmbiguityPolicy::default(),
    };
    let btf = Btf::from_sys_fs()?;
    job.lap("btf");
    let mut kept = Vec::new();
    while let Some(file) = job.next_object() {
        let mut loader = EbpfLoader::new();
        let mut ebpf = loader.ambiguity_policy(ambiguity).load_file(file)?;
        job.lap("open");
        for (_, program) in ebpf.programs_mut() {
            let program: &mut FExit = program.try_into()?;
            program.load_target(&Target::Section, &btf)?;
        }
        job.lap("load");
        for (_, program) in ebpf.programs_mut() {
            let program: &mut FExit = program.try_into()?;
            program.attach()?;
        }
        job.lap("attach");
        job.fire(|| Ok(ebpf.global("calls")?))?;
        kept.push(ebpf);
    }
    job.report()
}
