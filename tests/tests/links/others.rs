//! Interfaces whose packets cannot be judged: what a policy names is refused, what a pattern covers is left out, and both
//! are told.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::libc;
use portcullis_tests::{
    draft::{allow, interface, policy},
    edge::{Edge, opening},
};

/// The interface that a multicast router's packets to a rendezvous point leave by. XDP sees the header of what carried
/// those that arrive there.
struct PimRegister(#[expect(dead_code, reason = "the interface vanishes with it")] OwnedFd);

impl PimRegister {
    const NAME: &str = "pimreg";

    /// Makes it in the calling thread's namespace.
    fn new() -> io::Result<Self> {
        /// `MRT_INIT` and `MRT_ADD_VIF` of include/uapi/linux/mroute.h.
        const INIT: libc::c_int = 200;
        const ADD_VIF: libc::c_int = 202;
        /// `struct vifctl` with `VIFF_REGISTER`.
        const REGISTER: [u8; 16] = [0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: plain numbers go in.
        let socket =
            unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_IGMP) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let begin: libc::c_int = 1;
        for (option, value) in [(INIT, begin.to_ne_bytes().as_slice()), (ADD_VIF, &REGISTER)] {
            let length = u32::try_from(value.len()).expect("few bytes");
            // SAFETY: the value lives until the call returns, and its length stands beside it.
            let set = unsafe {
                libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, option, value.as_ptr().cast(), length)
            };
            if set < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self(socket))
    }
}

/// A host with such an interface and one that can be judged; `None` without root.
fn host() -> Result<Option<(Edge, PimRegister)>> {
    let Some(edge) = Edge::new()? else { return Ok(None) };
    let register =
        edge.lab.host().within(PimRegister::new).context("cannot make a PIM register interface")?;
    Ok(Some((edge, register)))
}

const WHY: &str = "it is a PIM register interface, where XDP sees the outer IP header and not their own";

/// Holds: security unjudged-links.
#[test]
fn a_policy_that_names_one_is_refused_whole() -> Result<()> {
    let Some((edge, _register)) = host()? else { return Ok(()) };
    let text = policy(&[
        interface("edge0", &[allow("open", "tcp", "443")]),
        interface(PimRegister::NAME, &[allow("open", "tcp", "443")]),
    ]);
    let said =
        edge.operator.apply(&text).exits(1).complains("pimreg: packets of `pimreg` cannot be judged: ");
    said.complains(WHY).complains("name the interface below it in the policy");
    edge.operator.run(&["status"]).exits(0).prints("no interface is enforced");
    let path = edge.operator.policy(&text)?;
    let path = path.to_str().expect("text");
    edge.operator.run(&["plan", path]).exits(1).complains(WHY);
    let checked = edge.operator.run(&["check", path, "--fail-on", "warning"]).exits(3);
    checked.prints("policy.toml:12:8: warning: pimreg: `apply` refuses the policy here: ").prints(WHY);
    Ok(())
}

/// Holds: security unjudged-links.
#[test]
fn a_pattern_leaves_one_out_and_says_so() -> Result<()> {
    let Some((edge, _register)) = host()? else { return Ok(()) };
    let all = opening(443).replace("edge0", "*");
    let path = edge.operator.policy(&all)?;
    let path = path.to_str().expect("text");
    let left_out = "pimreg: left out, although a pattern covers it: its packets cannot be judged: ";
    edge.operator.run(&["check", path]).exits(3).prints("note: *: `pimreg` is here and left out: ");
    edge.operator.run(&["plan", path]).exits(3).prints(left_out).prints("edge0: would be enforced");
    edge.operator.apply(&all).exits(0).prints(left_out).prints("edge0: enforcing");
    let said = edge.operator.run(&["apply", path, "--json"]).exits(0).json();
    assert_eq!(
        (&said["unchanged"], &said["skipped"][0]["interface"]),
        (&true.into(), &"pimreg".into()),
        "{said}"
    );
    edge.operator.run(&["apply", path, "--quiet"]).exits(0).keeps_quiet_about("pimreg");
    edge.assert_open(443, 8080);
    let said = edge.operator.run(&["doctor", PimRegister::NAME]).exits(3);
    said.prints("pimreg: warning: its packets cannot be judged: ").prints(WHY);
    edge.operator.run(&["doctor", "edge0"]).exits(0);
    Ok(())
}

/// Holds: security unjudged-links.
#[test]
fn the_agent_leaves_one_out_and_says_so() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443).replace("edge0", "*"), &[]);
    // It appears, as others do that are protected at once.
    let register =
        edge.lab.host().within(PimRegister::new).context("cannot make a PIM register interface")?;
    let skipped = agent.event("skipped");
    assert_eq!(skipped["interface"], PimRegister::NAME);
    assert!(skipped["reason"].as_str().is_some_and(|reason| reason.contains(WHY)), "{skipped}");
    edge.operator.run(&["status", "--check"]).exits(0).prints("pimreg: left out: ").prints(WHY);
    let status = edge.operator.run(&["status", "--json"]).exits(0).json();
    let watched = status["agent"]["interfaces"].as_array().expect("a list").iter();
    let standings: Vec<_> =
        watched.map(|one| (one["interface"].as_str(), one["standing"].as_str())).collect();
    assert_eq!(standings, [(Some("edge0"), Some("protected")), (Some("pimreg"), Some("skipped"))]);
    edge.assert_open(443, 8080);
    // It is there when the file is read again.
    edge.operator.policy(&opening(8080).replace("edge0", "*"))?;
    assert_eq!(agent.event("skipped")["interface"], PimRegister::NAME);
    edge.assert_open(8080, 443);
    drop(register);
    // Named in full, it cannot be left out in silence.
    edge.operator.policy(&policy(&[interface("edge0", &[]), interface(PimRegister::NAME, &[])]))?;
    assert_eq!(agent.event("awaited")["interface"], PimRegister::NAME);
    let _register = edge.lab.host().within(PimRegister::new)?;
    let unprotected = agent.event("unprotected");
    assert!(unprotected["error"].as_str().is_some_and(|error| error.contains(WHY)), "{unprotected}");
    edge.operator.run(&["status", "--check"]).exits(3).prints("pimreg: NOT PROTECTED: ").prints(WHY);
    Ok(())
}
