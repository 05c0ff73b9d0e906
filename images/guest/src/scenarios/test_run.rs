//! Test runs.

use anyhow::{Result, ensure};
use fexit::programs::Target;
use fexit::{Btf, Ebpf};

use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    test_run(TestRun):
        "a test run calls the kernel's test functions, and the program sees arguments of each size exactly";
}

fn test_run(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(objects::FENTRY_TEST)?;
    for name in ["one", "six"] {
        let program = fexit(&mut ebpf, name)?;
        program.load_target(&Target::Section, &btf)?;
        program.attach()?;
    }
    fexit(&mut ebpf, "six")?.test_run()?;

    let one = (ebpf.global::<i32>("one_a")?, ebpf.global::<i32>("one_ret")?);
    ensure!(
        ebpf.global::<u64>("calls_of_one")? == 1,
        "bpf_fentry_test1 did not run once"
    );
    ensure!(
        one == (1, 2),
        "bpf_fentry_test1: argument and result were {one:?}"
    );
    ensure!(
        ebpf.global::<u64>("calls_of_six")? == 1,
        "bpf_fentry_test6 did not run once"
    );
    let wide = ["six_a", "six_b", "six_e", "six_f"].map(|name| ebpf.global::<u64>(name));
    let wide = wide.into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(
        wide == [16, 17, 20, 21],
        "bpf_fentry_test6: 64-bit arguments were {wide:?}"
    );
    let narrow = (ebpf.global::<i16>("six_c")?, ebpf.global::<i32>("six_d")?);
    ensure!(
        narrow == (18, 19),
        "bpf_fentry_test6: 16 and 32-bit arguments were {narrow:?}"
    );
    let ret: i32 = ebpf.global("six_ret")?;
    ensure!(ret == 111, "bpf_fentry_test6 returned {ret}, not 111");
    Ok(())
}
