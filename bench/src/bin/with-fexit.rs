//! With fexit.

use anyhow::Result;
use bench::Job;
use fexit::programs::{FExit, Target};
use fexit::{Btf, Ebpf};

fn main() -> Result<()> {
    let mut job = Job::from_args()?;
    let btf = Btf::from_sys_fs()?;
    job.lap("btf");
    let mut kept = Vec::new();
    while let Some(file) = job.next_object() {
        let mut ebpf = Ebpf::load_file(file)?;
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
