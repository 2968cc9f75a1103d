//! The product for longer, and in bad company: floods, kills and faults again and again. Short here, long
//! under `cargo xtask soak`, which sets `PORTCULLIS_SOAK`.

mod anew;
mod batches;
mod faults;
mod flood;
mod kills;
mod takeover;

/// How often something is done: `usually`, or as often as it takes to find what is rare.
fn times(usually: u32, soak: u32) -> u32 {
    if std::env::var_os("PORTCULLIS_SOAK").is_some() { soak } else { usually }
}
