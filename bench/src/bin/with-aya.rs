//! With aya, which ignores the target in a section: the program's name has the target.

use anyhow::{Context as _, Result};
use aya::maps::Array;
use aya::programs::FExit;
use aya::{Btf, Ebpf};
use bench::Job;

fn target(program: &str) -> &str {
    program.strip_prefix("on_").unwrap_or("__do_sys_getppid")
}

fn main() -> Result<()> {
    let mut job = Job::from_args()?;
    let btf = Btf::from_sys_fs()?;
    job.lap("btf");
    let mut kept = Vec::new();
    while let Some(file) = job.next_object() {
        let mut ebpf = Ebpf::load_file(file)?;
        job.lap("open");
        for (name, program) in ebpf.programs_mut() {
            let program: &mut FExit = program.try_into()?;
            program.load(target(name), &btf)?;
        }
        job.lap("load");
        for (_, program) in ebpf.programs_mut() {
            let program: &mut FExit = program.try_into()?;
            program.attach()?;
        }
        job.lap("attach");
        job.fire(|| {
            let map = ebpf.map(".bss").context("no .bss")?;
            Ok(Array::<_, u64>::try_from(map)?.get(&0, 0)?)
        })?;
        kept.push(ebpf);
    }
    job.report()
}
