//! Pinned links, and what the kernel reports about links.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use fexit::programs::{FExitLink, LinkError, ProgramError};
use fexit::{Btf, Feature};

use super::counter::{Counter, FUNCTION, expect, expect_error};
use super::fixture::closed_on_exec;
use crate::scenario::{Context, poll_until, scenarios};

scenarios! {
    pin_link(Link).parallel():
        "a pinned link outlives its owner, is opened by its path, and is detached by unpin and drop";
    pin_taken_name(Link).parallel(): "a failed pin neither detaches the link nor changes the existing file";
    unpin_another_file(Link).parallel(): "unpin keeps another file that replaced the pin, and returns the link";
    attach_while_held(Link).parallel():
        "attach is refused while a pin or a copy of the descriptor holds the link, and the program never runs twice per call";
    link_info(LinkInfo).parallel(): "link info gives the program id and the link type";
    link_target(LinkTarget).parallel():
        "link info identifies the target: equal for the same function, different for another";
    program_info_target(ProgramInfoTarget).parallel(): "program info identifies the target: the same as link info";
}

/// How long the kernel may take to notice that a pin is gone.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    // The kernel frees pinned objects asynchronously.
    poll_until("the program does not run any more", TIMEOUT, || {
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
    let error = expect_error!("unpin of another link", first.unpin() => LinkError::Unpin { .. })?;
    ensure!(error.to_string().contains(path), "{error}");
    expect(&[&one_calls, &two_calls], &[])?;
    let LinkError::Unpin { pinned, .. } = error else {
        return Ok(());
    };
    drop(FExitLink::from(*pinned));
    drop(FExitLink::from(second));
    // The pin still holds the second link.
    poll_until("the returned link is detached", TIMEOUT, || {
        Ok(expect(&[&two_calls], &[&one_calls]).ok())
    })?;
    drop(FExitLink::from_pin(path)?);
    fs::remove_file(path)?;

    // Programs and maps can be pinned as well, but are not links.
    for pin in ["a program", "a map"] {
        match pin {
            "a program" => one.program()?.pin(path)?,
            _ => pin_map(&one, path)?,
        }
        let error = expect_error!(pin, FExitLink::from_pin(path) => LinkError::WrongObject { .. })?;
        ensure!(error.to_string().contains("not an fexit link"), "{error}");
        let taken =
            expect_error!("a taken name", one.program()?.pin(path) => ProgramError::Pin { .. })?;
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
        poll_until("the kernel frees the link", TIMEOUT, || {
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

    // Once converted to a descriptor, the library does not track the link.
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
        // The library cannot know that it is closed by now.
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

/// A counter attached to `function`, and the target that link info reports.
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
        // Before 5.8 there is no link info at all, not only no target in it.
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
