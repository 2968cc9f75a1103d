//! The comparison of kernel objects: `bench --against OBJECT`.

use std::{
    fs,
    process::{Command, Output},
};

use anyhow::Result;
use portcullis::datapath;
use portcullis_tests::lab::Lab;

/// Compares with a file of these bytes, in one short round.
fn compare(bytes: &[u8]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let object = folder.path().join("earlier.o");
    fs::write(&object, bytes)?;
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.arg("--against").arg(object).args(["--rounds", "1", "--repeat", "4000", "--only", "IPv"]);
    Ok(bench.output()?)
}

#[test]
fn the_same_object_has_every_line_and_the_same_answers() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let output = compare(datapath::OBJECT)?;
    let printed = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8(output.stderr)?;
    // So short a round says nothing about which is faster.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{printed}{errors}");
    for case in ["undocumented SYN", "reply by flow", "no reply to a port", "from no source, 1000 sources"] {
        for version in ["IPv4", "IPv6"] {
            let is_line = |line: &&str| line.starts_with(version) && line.contains(case);
            assert!(printed.lines().any(|line| is_line(&line)), "{version} {case}: {printed}");
        }
    }
    assert!(!printed.contains("not compared"), "{printed}");
    Ok(())
}

#[test]
fn what_is_no_kernel_object_is_refused_by_name() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let output = compare(b"no object")?;
    let errors = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("earlier.o is no ELF file"), "{errors}");
    Ok(())
}
