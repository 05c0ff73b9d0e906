//! Compares the library's table of helpers with the kernel.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fexit::programs::{OtherProgram, Program, ProgramError, Target};
use fexit::{Btf, Ebpf, Feature, Helper, KernelVersion};

use super::counter::Counter;
use super::fixture::fexit;
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    helper_table(ProgramTarget).without_functions().parallel().timeout(TIME_LIMIT):
        "the library's table of helpers agrees with the kernel about fexit programs";
}

/// It loads some three hundred programs: under TCG that took up to 17 s in parallel with others, and 97 s on a busy host.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The placeholder in the program for the number of a helper.
const PLACEHOLDER: u32 = 0x0bad_f00d;

/// Only for sleepable programs, which this one is not.
const SLEEPABLE_ONLY: [&str; 2] = ["copy_from_user", "copy_from_user_task"];

/// The verifier's answer to a call of a helper.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The helper does not exist, or not for this program type.
    Withheld,
    /// The helper exists, for GPL programs only.
    ForGpl,
    /// The helper exists. The verifier may still reject the arguments.
    Offered,
}

fn replaced(object: &[u8], from: &[u8], to: &[u8]) -> Result<Vec<u8>> {
    let mut object = object.to_vec();
    let at = object
        .windows(from.len())
        .position(|bytes| bytes == from)
        .context("the object is not as expected")?;
    object[at..at + to.len()].copy_from_slice(to);
    Ok(object)
}

/// The target is a BPF program, so that the kernel does not search its symbols each time.
fn ask(object: &[u8], number: u32, (xdp, btf): (&Program, &Btf)) -> Result<Answer> {
    const UNKNOWN: [&str; 3] = ["unknown func", "invalid func", "cannot use helper"];
    let object = replaced(object, &PLACEHOLDER.to_le_bytes(), &number.to_le_bytes())?;
    let mut ebpf = Ebpf::load(&object)?;
    let load = fexit(&mut ebpf, "caller")?.load_target(&Target::program(xdp, None)?, btf);
    Ok(match load {
        Ok(()) => Answer::Offered,
        Err(ProgramError::Unsupported(refusal)) if refusal.feature == Feature::ProgramTarget => {
            return Err(refusal.into());
        }
        Err(
            ProgramError::UnknownHelper { .. }
            | ProgramError::TooNew { .. }
            | ProgramError::Unsupported(_),
        ) => Answer::Withheld,
        Err(ProgramError::LoadError { verifier_log, .. }) => {
            if UNKNOWN.iter().any(|message| verifier_log.contains(message)) {
                Answer::Withheld
            } else if verifier_log.contains("GPL") {
                Answer::ForGpl
            } else {
                Answer::Offered
            }
        }
        Err(other) => return Err(other.into()),
    })
}

fn helper_table(context: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let running = KernelVersion::current();
    let mut xdp = Ebpf::load(objects::XDP_TARGET)?;
    let target = xdp.program_mut("verdict").context("no program `verdict`")?;
    <&mut OtherProgram>::try_from(&mut *target)?.load()?;
    // A kernel may load such programs and refuse to attach them, as those of arm64 before 6.0.
    let mut counter = Counter::parsed()?;
    let program = counter.program()?;
    program.load_target(&Target::program(target, None)?, &btf)?;
    program.attach()?;
    let target = (&*target, &btf);
    let gpl = objects::HELPER_CALL;
    let other = replaced(gpl, b"GPL\0", b"MIT\0")?;
    let listed = Helper::all_in(&btf);
    let (mut offered, mut wrong) = (0, Vec::new());
    for helper in (1..).map_while(Helper::by_number) {
        let mut answer = ask(gpl, helper.number, target)?;
        if answer == Answer::Offered {
            offered += 1;
            answer = ask(&other, helper.number, target)?;
        }
        if SLEEPABLE_ONLY.contains(&helper.name) {
            continue;
        }
        if answer != Answer::Withheld && !listed.contains(&helper) {
            wrong.push(format!("bpf_{}: {answer:?}, but not in BTF", helper.name));
        } else if answer != by_table(&helper, running) {
            match changed_early(&helper, &answer) {
                Some((what, release)) if running < release => context.has(&what, release),
                _ => wrong.push(format!(
                    "bpf_{} ({}): {answer:?}",
                    helper.name, helper.minimum
                )),
            }
        }
    }
    context.measure("offered", offered);
    ensure!(
        wrong.is_empty(),
        "the kernel says otherwise of {}",
        wrong.join("; ")
    );
    let behind = (1..).find(|&number| Helper::by_number(number).is_none());
    let behind = ask(gpl, behind.context("no end")?, target)?;
    ensure!(
        behind == Answer::Withheld,
        "there is a helper behind the last: {behind:?}"
    );
    Ok(())
}

/// What the library's table says about a helper on this release.
fn by_table(helper: &Helper, running: KernelVersion) -> Answer {
    let for_gpl = helper.gpl_only || helper.gpl_until.is_some_and(|until| running < until);
    match (helper.is_for_fexit_on(running), for_gpl) {
        (false, _) => Answer::Withheld,
        (true, false) => Answer::Offered,
        (true, true) => Answer::ForGpl,
    }
}

/// The change of a helper that explains the answer, and the release that the table has for it. A vendor may have
/// backported it.
fn changed_early(helper: &Helper, answer: &Answer) -> Option<(String, KernelVersion)> {
    let name = helper.name;
    match (answer, helper.fexit_until, helper.gpl_until) {
        (Answer::Withheld, Some(until), _) => Some((format!("bpf_{name} withdrawn"), until)),
        (Answer::Offered, _, Some(until)) => Some((format!("bpf_{name} for any licence"), until)),
        (Answer::Offered, ..) if helper.for_fexit && !helper.gpl_only => {
            Some((format!("bpf_{name}"), helper.minimum))
        }
        (Answer::ForGpl, ..) if helper.for_fexit && helper.gpl_only => {
            Some((format!("bpf_{name}"), helper.minimum))
        }
        _ => None,
    }
}
