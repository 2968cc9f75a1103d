//! A packet on which the judges differ, and all that was before it.

use std::fmt;

use anyhow::Result;

use super::{
    policy::Policy,
    world::{Event, Fault, World},
};

/// Everything that a verdict depends on.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What decides first.
    pub policy: Policy,
    /// What was before, in its order.
    pub earlier: Vec<Event>,
    /// The packet.
    pub last: Event,
}

/// A scenario made small.
#[derive(Clone, Debug)]
pub struct Difference {
    pub(super) scenario: Scenario,
    pub(super) fault: Fault,
    pub(super) found: String,
}

impl Scenario {
    /// What is wrong at some event, if anything is.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a program or a packet.
    pub fn fault(&self) -> Result<Option<Fault>> {
        let mut world = World::new(&self.policy)?;
        for event in self.earlier.iter().chain([&self.last]) {
            if let Err(fault) = world.meets(event)? {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { policy, earlier, last } = &self.scenario;
        writeln!(f, "{}: the kernel and the model differ, or let somebody in", self.found)?;
        policy.fmt(f)?;
        earlier.iter().chain([last]).try_for_each(|event| event.fmt(f))?;
        self.fault.fmt(f)
    }
}
