//! The kernel programs and the reference model agree on random packets under random rules.

use anyhow::Result;
use portcullis_tests::{
    differential::{self, Plan},
    lab::Lab,
};

#[test]
fn the_kernel_and_the_model_agree() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let plan = Plan { packets: 200_000, policies: 64, seed: 20_261_122 };
    println!("{plan:?}");
    let statistics = differential::run(plan)?.unwrap_or_else(|difference| panic!("{difference}"));
    println!("{statistics}");
    assert_eq!(statistics.arrived, plan.packets);
    assert!(statistics.associations > plan.packets / 100, "hardly any SCTP port was open");
    assert!(statistics.missing().is_empty(), "no packet was for {:?}", statistics.missing());
    Ok(())
}
