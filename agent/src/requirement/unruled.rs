//! Tables that lost their rules: see the submodules.
use super::vocabulary::Vocabulary;
use crate::document::Block;
pub(crate) fn tables(blocks: Vec<Block>, _words: &Vocabulary) -> Vec<Block> {
    blocks
}
