//! The last known good policy, and what holds at boot where there is none.

use std::fs;

use anyhow::Result;
use portcullis_tests::{
    operator::{Operator, Ran},
    traffic::{Protocol, exchange},
};

use crate::{Edge, PATIENCE, opening, replace, server};

/// What happens to a host at boot.
trait Boots {
    fn reboot(&self) -> Result<()>;
    fn boot(&self, more: &[&str]) -> Ran;
    fn everything_passes(&self) -> Result<bool>;
}

impl Boots for Edge {
    /// What a boot leaves: no pins, no state; files stay.
    fn reboot(&self) -> Result<()> {
        self.operator.run(&["detach", "--all"]).exits(0);
        fs::remove_dir_all(Operator::state())?;
        Ok(())
    }

    fn boot(&self, more: &[&str]) -> Ran {
        let path = Operator::policy_path();
        let policy = ["boot", "--policy", path.to_str().expect("text")];
        self.operator.run(&[&policy, more].concat())
    }

    fn everything_passes(&self) -> Result<bool> {
        Ok(exchange(&self.neighbour, Protocol::Tcp, server(443), PATIENCE)?
            && exchange(&self.neighbour, Protocol::Tcp, server(8080), PATIENCE)?)
    }
}

#[test]
fn what_was_last_in_place_is_enforced_again_whatever_became_of_the_file() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&opening(443)).exits(0);
    // Not in place ever: it is not valid, or was only tried.
    edge.operator.apply(&opening(8080).replace("tcp", "tpc")).exits(2);
    let path = edge.operator.policy(&opening(8080))?;
    edge.operator.run(&["apply", "--observe", path.to_str().expect("text")]).exits(0);
    for file in [opening(8080), "version = 9\n".to_owned()] {
        edge.reboot()?;
        edge.operator.policy(&file)?;
        edge.boot(&[]).exits(0).prints("edge0: generation 1");
        edge.assert_open(443, 8080);
    }
    // Done twice, as when the unit is started by hand, it leaves alone what is there.
    edge.boot(&[]).exits(0).keeps_quiet_about("generation");
    assert_eq!(edge.operator.counters("edge0")["generation"], 1);
    Ok(())
}

#[test]
fn what_the_agent_put_in_place_is_known_good_with_its_catalogs() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let catalog = Operator::policy_path().with_file_name("mine.toml");
    fs::write(
        &catalog,
        "schema = 1\nsystem = \"mine\"\ntitle = \"Mine\"\n\n[[role]]\nname = \"web\"\ntitle = \"Web\"\n",
    )?;
    let text = opening(443).replace("version = 1", "version = 1\ncatalog = [\"mine.toml\"]");
    let mut agent = edge.agent(&text, &[]);
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    agent.end();
    edge.reboot()?;
    fs::remove_file(&catalog)?;
    fs::remove_file(Operator::policy_path())?;
    edge.boot(&[]).exits(0);
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn on_a_new_host_the_file_is_the_first_policy() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.policy(&opening(443))?;
    edge.boot(&["--fail-mode", "closed"]).exits(0).complains("no policy is known to be good yet");
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn the_fail_mode_says_what_holds_where_nothing_good_can_be_loaded() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let last_good = Operator::lasting().join("last-good.json");
    edge.operator.apply(&opening(443)).exits(0);
    replace(&last_good, "{")?;

    edge.reboot()?;
    let said = edge.boot(&["--fail-mode", "last-good"]).exits(3);
    said.complains("is no last known good policy");
    edge.assert_open(443, 8080);

    edge.operator.policy("version = 9\n")?;
    edge.reboot()?;
    edge.boot(&["--fail-mode", "last-good"]).exits(1).complains("nothing is enforced");
    assert!(edge.everything_passes()?);

    edge.boot(&["--fail-mode", "open"]).exits(1).complains("nothing is enforced");
    assert!(edge.everything_passes()?);

    let said = edge.boot(&["--fail-mode", "closed"]).exits(3).complains("every interface is closed");
    said.prints("edge0: generation 1 of the fail mode `closed`\n").keeps_quiet_about("/the fail mode");
    for port in [443, 8080] {
        assert!(!exchange(&edge.neighbour, Protocol::Tcp, server(port), crate::IMPATIENCE)?);
    }
    Ok(())
}
