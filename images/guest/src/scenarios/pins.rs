//! Links with a name, and what the kernel tells of links.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use fexit::programs::{FExitLink, LinkError, ProgramError};
use fexit::{Btf, Feature};

use super::counter::{Counter, FUNCTION, expect, expect_error};
use super::fixture::closed_on_exec;
use crate::scenario::{Context, Scenario, poll_until};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "pin_link",
        "a pinned link runs on without its owner, is found again by its name, and ends by unpin and drop",
        Feature::Link,
        pin_link,
    )
    .beside_others(),
    Scenario::new(
        "pin_taken_name",
        "a failed pin neither ends the link nor touches the file that is there",
        Feature::Link,
        pin_taken_name,
    )
    .beside_others(),
    Scenario::new(
        "unpin_another_file",
        "unpin leaves alone what somebody else has put in the pin's place, and gives the link back",
        Feature::Link,
        unpin_another_file,
    )
    .beside_others(),
    Scenario::new(
        "attach_while_held",
        "while a pin or a copy of the descriptor keeps a link, attach is refused, and never makes the program run twice",
        Feature::Link,
        attach_while_held,
    )
    .beside_others(),
    Scenario::new(
        "link_info",
        "the kernel tells the link's program and kind",
        Feature::LinkInfo,
        link_info,
    )
    .beside_others(),
    Scenario::new(
        "link_target",
        "the kernel tells what a link is attached to: the same for one function, another for another",
        Feature::LinkTarget,
        link_target,
    )
    .beside_others(),
    Scenario::new(
        "program_info_target",
        "the kernel tells what a program was loaded for: the same function as its link says",
        Feature::ProgramInfoTarget,
        program_info_target,
    )
    .beside_others(),
];

/// How long the kernel may take to notice that a pin is gone.
const PATIENCE: Duration = Duration::from_secs(10);

fn pin_link(_: &mut Context) -> Result<()> {
    let path = "/sys/fs/bpf/pin_link";
    let btf = Btf::from_sys_fs()?;
    let (witness, _id) = Counter::attached(&btf)?;
    let witness = (witness.calls(), witness);
    let (mut counter, id) = Counter::attached(&btf)?;
    let calls = counter.calls();

    let pinned = counter.program()?.take_link(id)?.pin(path)?;
    ensure!(
        pinned.path() == Path::new(path) && Path::new(path).exists(),
        "there is no pin"
    );
    drop(FExitLink::from(pinned));
    drop(counter);
    expect(&[&witness.0, &calls], &[])?;

    let link = FExitLink::from_pin(path)?;
    fs::remove_file(path)?;
    expect(&[&witness.0, &calls], &[])?;
    let copy = link.pin(path)?.unpin()?;
    ensure!(
        !Path::new(path).exists(),
        "the pin is still there after unpin"
    );
    drop(link);
    expect(&[&witness.0, &calls], &[])?;
    drop(copy);
    // The kernel lets go of what was pinned in its own time.
    poll_until("the program does not run any more", PATIENCE, || {
        Ok(expect(&[&witness.0], &[&calls]).ok())
    })
}

fn pin_taken_name(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let path = "/sys/fs/bpf/pin_taken_name";
    let ((mut one, id_of_one), (mut two, id_of_two)) =
        (Counter::attached(&btf)?, Counter::attached(&btf)?);
    let (one_calls, two_calls) = (one.calls(), two.calls());
    let first = one.program()?.take_link(id_of_one)?.pin(path)?;
    let second = two.program()?.take_link(id_of_two)?;
    let is_pin_error = |error: &LinkError| matches!(error, LinkError::Pin { .. });
    for bad in [path, "pin_outside_of_bpffs", "/sys/fs/bpf/no/such/folder"] {
        let error = expect_error(bad, second.pin(bad), is_pin_error)?.to_string();
        ensure!(
            error.contains(bad),
            "the error does not name the path: {error}"
        );
        expect(&[&one_calls, &two_calls], &[])?;
    }
    expect_error(
        "no pin",
        FExitLink::from_pin("/sys/fs/bpf/nothing"),
        is_pin_error,
    )?;
    drop(second);
    expect(&[&one_calls], &[&two_calls])?;
    drop(first.unpin()?);
    ensure!(
        !Path::new(path).exists(),
        "the pin is still there after unpin"
    );
    Ok(())
}

fn unpin_another_file(_: &mut Context) -> Result<()> {
    let path = "/sys/fs/bpf/unpin_another_file";
    let btf = Btf::from_sys_fs()?;
    let (mut one, id_of_one) = Counter::attached(&btf)?;
    let (mut two, id_of_two) = Counter::attached(&btf)?;
    let (one_calls, two_calls) = (one.calls(), two.calls());
    let first = one.program()?.take_link(id_of_one)?.pin(path)?;
    fs::remove_file(path)?;
    let second = two.program()?.take_link(id_of_two)?.pin(path)?;
    let error = expect_error("unpin of another link", first.unpin(), |error| {
        matches!(error, LinkError::Unpin { .. })
    })?;
    ensure!(error.to_string().contains(path), "{error}");
    expect(&[&one_calls, &two_calls], &[])?;
    let LinkError::Unpin { pinned, .. } = error else {
        return Ok(());
    };
    drop(FExitLink::from(*pinned));
    drop(FExitLink::from(second));
    // The second link is still held by its pin.
    poll_until("the link that was given back ends", PATIENCE, || {
        Ok(expect(&[&two_calls], &[&one_calls]).ok())
    })?;
    drop(FExitLink::from_pin(path)?);
    fs::remove_file(path)?;

    // Programs and maps are pinned as well, and are no links.
    for pin in ["a program", "a map"] {
        match pin {
            "a program" => one.program()?.pin(path)?,
            _ => pin_map(&one, path)?,
        }
        let error = expect_error(pin, FExitLink::from_pin(path), |error| {
            matches!(error, LinkError::WrongObject { .. })
        })?;
        ensure!(error.to_string().contains("not an fexit link"), "{error}");
        let taken = expect_error("a taken name", one.program()?.pin(path), |error| {
            matches!(error, ProgramError::Pin { .. })
        })?;
        let text = taken.to_string();
        ensure!(
            text.contains(path) && text.contains("free name"),
            "the error does not say what to do: {text}"
        );
        fs::remove_file(path)?;
    }
    Ok(())
}

fn pin_map(counter: &Counter, path: &str) -> Result<()> {
    let fd = counter.map()?.fd()?.try_clone_to_owned()?;
    Ok(aya::maps::MapData::from_fd(fd)?.pin(path)?)
}

fn attach_while_held(_: &mut Context) -> Result<()> {
    let path = "/sys/fs/bpf/attach_while_held";
    let btf = Btf::from_sys_fs()?;
    let (witness, _id) = Counter::attached(&btf)?;
    let (witness, _keep) = (witness.calls(), witness);
    let (mut counter, id) = Counter::attached(&btf)?;
    let calls = counter.calls();
    let already = |error: &ProgramError| matches!(error, ProgramError::AlreadyAttached);
    let attach = |counter: &mut Counter| {
        poll_until("the kernel lets go of the link", PATIENCE, || {
            Ok(counter.program()?.attach().ok())
        })
    };

    let link = counter.program()?.take_link(id)?;
    let (first, second) = (
        link.pin(path)?,
        link.pin("/sys/fs/bpf/attach_while_held_too")?,
    );
    drop(link);
    drop(second.unpin()?);
    drop(FExitLink::from(first));
    expect_error("attach while pinned", counter.program()?.attach(), already)?;
    expect(&[&witness, &calls], &[])?;
    fs::remove_file(path)?;
    let id = attach(&mut counter)?;
    expect(&[&witness, &calls], &[])?;

    // Given away as a descriptor, it is out of the library's sight.
    let given = OwnedFd::from(counter.program()?.take_link(id)?);
    closed_on_exec()?;
    let copy = given.try_clone()?;
    drop(given);
    expect_error(
        "attach while a copy of the descriptor is open",
        counter.program()?.attach(),
        already,
    )?;
    expect(&[&witness, &calls], &[])?;
    drop(copy);
    expect(&[&witness], &[&calls])?;
    if Feature::LinkInfo.is_in(&btf) == Some(false) {
        // Nobody tells that it is closed by now.
        expect_error("attach as before", counter.program()?.attach(), already)?;
        counter.program()?.unload()?;
        counter.program()?.load(FUNCTION, &btf)?;
    }
    attach(&mut counter)?;
    expect(&[&witness, &calls], &[])
}

fn link_info(_: &mut Context) -> Result<()> {
    const BPF_TRACE_FEXIT: u32 = 25;
    let btf = Btf::from_sys_fs()?;
    let (mut one, id_of_one) = Counter::attached(&btf)?;
    let (mut two, id_of_two) = Counter::attached(&btf)?;
    let link_of_one = one.program()?.take_link(id_of_one)?;
    let link_of_two = two.program()?.take_link(id_of_two)?;
    let infos = (link_of_one.info()?, link_of_two.info()?);
    ensure!(
        infos.0.id != infos.1.id && infos.0.id != 0,
        "two links have one id: {infos:?}"
    );
    for (info, counter) in [(&infos.0, &mut one), (&infos.1, &mut two)] {
        let program = counter.program()?.info()?;
        ensure!(
            info.program_id == program.id,
            "{info:?} is not of program {}",
            program.id
        );
        ensure!(
            info.attach_type == BPF_TRACE_FEXIT,
            "attach type {}",
            info.attach_type
        );
    }
    Ok(())
}

/// A counter attached to `function`, and what the kernel says that its link is attached to.
fn linked_to(function: &str) -> Result<(Counter, (u32, u32))> {
    let mut counter = Counter::parsed()?;
    counter.program()?.load(function, &Btf::from_sys_fs()?)?;
    let id = counter.program()?.attach()?;
    let link = counter.program()?.take_link(id)?;
    Ok((counter, link.info()?.target()?))
}

fn link_target(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    if Feature::LinkInfo.is_in(&btf) == Some(false) {
        // Before 5.8 a link tells nothing at all: then it is not the target alone that is missing.
        Feature::LinkTarget.require(&btf)?;
    }
    let (_one, target) = linked_to("filename_lookup")?;
    let (_two, same) = linked_to("filename_lookup")?;
    let (_three, other) = linked_to("vfs_open")?;
    ensure!(
        target == same,
        "one function, but the targets {target:?} and {same:?}"
    );
    ensure!(target != other, "two functions, but one target {target:?}");
    Ok(())
}

fn program_info_target(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut counter = Counter::loaded(&btf)?;
    let (_, of_program) = counter.program()?.info()?.target()?;
    let (_attached, (_, of_link)) = linked_to("filename_lookup")?;
    ensure!(
        of_program == of_link,
        "the program says {of_program}, its link {of_link}"
    );
    Ok(())
}
