//! The kernel programs and the reference model agree on random packets under random policies, which change in the
//! middle of them; and nobody is taken for somebody whom this host has asked.

use anyhow::Result;
use portcullis_tests::{
    differential::{self, Plan},
    lab::Lab,
};

/// Holds: policy 7.
#[test]
fn the_kernel_and_the_model_agree() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let plan = Plan { packets: 200_000, policies: 32, changes: 4, seed: 20_261_122 };
    println!("{plan:?}");
    let statistics = differential::run(plan, |_, _| {})?.unwrap_or_else(|difference| panic!("{difference}"));
    println!("{statistics}");
    assert_eq!(statistics.arrived, plan.packets);
    assert!(statistics.associations > plan.packets / 100, "hardly any SCTP port was open");
    let changes: Vec<_> = statistics.changes.keys().copied().collect();
    assert_eq!(changes, ["policies", "second-sets", "shadows", "trials", "trials-over"]);
    assert!(statistics.shut_out > plan.packets / 500, "hardly anybody lost a rule who had been let in");
    assert!(statistics.missing().is_empty(), "no packet was for {:?}", statistics.missing());
    Ok(())
}
