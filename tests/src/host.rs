//! A host behind a rule set, as the kernel and as the model judge it: both must say the same.

use std::time::Duration;

use anyhow::Result;
use portcullis::{
    datapath::LoadOptions,
    evaluate::{Evaluator, Verdict},
    ruleset::RuleSet,
};

use crate::judge::Judge;

/// All packets of a host come and go at once.
const NOW: Duration = Duration::ZERO;

/// The kernel and the model as one host.
pub struct Host<'a> {
    /// The programs.
    pub kernel: Judge,
    /// The model.
    pub model: Evaluator<'a>,
}

impl<'a> Host<'a> {
    /// A host that has begun no conversation yet.
    ///
    /// # Errors
    ///
    /// As [`Judge::new`].
    pub fn new(rules: &'a RuleSet, options: &LoadOptions) -> Result<Self> {
        let model = Evaluator::new(rules, options.settings);
        Ok(Self { kernel: Judge::new(rules, options)?, model })
    }

    /// The host sends a frame, whatever becomes of it.
    ///
    /// # Errors
    ///
    /// Where the kernel does not take the frame.
    pub fn sends(&mut self, frame: &[u8]) -> Result<()> {
        self.model.leaving(frame, NOW);
        self.kernel.leaving(frame)
    }

    /// The host sends a frame that must have this verdict.
    ///
    /// # Errors
    ///
    /// Where the kernel does not take the frame.
    ///
    /// # Panics
    ///
    /// Where it has another verdict.
    pub fn lets_out(&mut self, says: &str, frame: &[u8], verdict: Verdict) -> Result<()> {
        assert_eq!(self.model.leaving(frame, NOW), Some(verdict), "the model: {says}: {frame:02x?}");
        if let Err(other) = self.kernel.leaves(frame, Some(verdict))? {
            panic!("the kernel: {says}: {other}\n{frame:02x?}");
        }
        Ok(())
    }

    /// A frame arrives that must have this verdict.
    ///
    /// # Errors
    ///
    /// Where the kernel does not take the frame.
    ///
    /// # Panics
    ///
    /// Where it has another verdict.
    pub fn receives(&mut self, says: &str, frame: &[u8], verdict: Verdict) -> Result<()> {
        assert_eq!(self.model.arriving(frame, NOW), verdict, "the model: {says}: {frame:02x?}");
        if let Err(other) = self.kernel.alone(frame, verdict)? {
            panic!("the kernel: {says}: {other}\n{frame:02x?}");
        }
        Ok(())
    }
}
