//! With libbpf-rs, which reads the kernel's BTF by itself while it loads an object.

use anyhow::{Context as _, Result};
use bench::Job;
use libbpf_rs::{MapCore as _, MapFlags, ObjectBuilder};

fn main() -> Result<()> {
    let mut job = Job::from_args()?;
    let mut kept = Vec::new();
    while let Some(file) = job.next_object() {
        let open = ObjectBuilder::default().open_file(file)?;
        job.lap("open");
        let object = open.load()?;
        job.lap("load");
        let links: Result<Vec<_>, _> = object.progs_mut().map(|program| program.attach()).collect();
        let links = links?;
        job.lap("attach");
        job.fire(|| {
            let bss = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".bss");
            let map = object.maps().find(|map| bss(map.name()));
            let value = map.context("no .bss")?.lookup(&[0; 4], MapFlags::ANY)?;
            let value = value.context("no value in .bss")?;
            Ok(u64::from_ne_bytes(value.as_slice().try_into()?))
        })?;
        kept.push((object, links));
    }
    job.report()
}
