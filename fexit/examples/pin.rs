//! Loads a program of an object and pins it: `pin OBJECT PROGRAM PATH`. The tests of the harness run it in a VM.

use std::env;
use std::error::Error;

use fexit::Ebpf;
use fexit::programs::OtherProgram;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [object, name, path] = arguments.as_slice() else {
        return Err(
            "usage: pin OBJECT PROGRAM PATH, as in: pin xdp.bpf.o pass /sys/fs/bpf/xdp".into(),
        );
    };
    let mut ebpf = Ebpf::load_file(object)?;
    let program = ebpf.program_mut(name);
    let program = program.ok_or_else(|| format!("{object} has no program `{name}`"))?;
    let program: &mut OtherProgram = program.try_into()?;
    program.load()?;
    program.pin(path)?;
    println!("program {} is pinned at {path}", program.info()?.id);
    Ok(())
}
