//! A document -> its promises, each with its name and line.
//!
//! Sentences of docs/policy.md are numbered already. Elsewhere a block ends with `<!-- promise NAME -->`, which moves
//! with its text and is not shown, or with `<!-- limit -->` where it only says what is not promised.

/// One promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// The document's short name, and that of the promise: `policy 7`.
    pub(crate) name: String,
    pub(crate) file: &'static str,
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A document with promises.
pub(crate) struct Document {
    name: &'static str,
    pub(crate) file: &'static str,
    /// The heading of the section with the promises.
    section: &'static str,
    form: Form,
}

/// How a section's promises are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Items with numbers.
    Numbers,
    /// Items of lists, with a mark.
    Items,
    /// Items and paragraphs, with a mark.
    Blocks,
}

/// The documents that promise something.
pub(crate) const ALL: [Document; 3] = [
    Document {
        name: "policy",
        file: "docs/policy.md",
        section: "## What a packet meets",
        form: Form::Numbers,
    },
    Document { name: "security", file: "SECURITY.md", section: "## Threat model", form: Form::Blocks },
    Document { name: "readme", file: "README.md", section: "## How it works", form: Form::Items },
];

const PROMISE: &str = "<!-- promise ";
const LIMIT: &str = "<!-- limit -->";

impl Promise {
    /// What it begins with.
    pub(crate) fn beginning(&self) -> String {
        let text = self
            .text
            .split("<!--")
            .next()
            .unwrap_or_default()
            .trim_start_matches(|c: char| c.is_ascii_digit());
        let text = text.trim_start_matches(['.', '-']).trim();
        let end = text.char_indices().nth(90).map_or(text.len(), |(at, _)| at);
        if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
    }
}

impl Document {
    /// The promises of a document's text, or what is wrong with its marks.
    pub(crate) fn promises(&self, text: &str) -> Result<Vec<Promise>, Vec<String>> {
        let (mut promises, mut faults): (Vec<Promise>, Vec<String>) = (Vec::new(), Vec::new());
        for (line, block) in blocks(text, self.section) {
            let place = format!("{}:{line}", self.file);
            match self.name_of(&block) {
                Ok(None) => {}
                Ok(Some(name)) => {
                    let name = format!("{} {name}", self.name);
                    if promises.iter().any(|promise| promise.name == name) {
                        faults.push(format!("{place}: there is another `{name}`"));
                    }
                    promises.push(Promise { name, file: self.file, line, text: block });
                }
                Err(fault) => faults.push(format!("{place}: {fault}")),
            }
        }
        if promises.is_empty() && faults.is_empty() {
            faults.push(format!("{}: there is no promise below `{}`", self.file, self.section));
        }
        if faults.is_empty() { Ok(promises) } else { Err(faults) }
    }

    /// The name of a block's promise; `None` where it promises nothing.
    fn name_of(&self, block: &str) -> Result<Option<String>, String> {
        if self.form == Form::Numbers {
            let number = block.split_once(". ").map(|(number, _)| number);
            let number = number.filter(|number| number.chars().all(|c| c.is_ascii_digit()));
            return Ok(number.map(str::to_owned));
        }
        if self.form == Form::Items && !block.starts_with("- ") {
            return Ok(None);
        }
        match block.split_once(PROMISE).and_then(|(_, rest)| rest.split_once(" -->")) {
            Some((name, _)) if !name.is_empty() && !name.contains(' ') => Ok(Some(name.to_owned())),
            None if block.contains(LIMIT) => Ok(None),
            _ => Err(format!("`{}` ends neither with `{PROMISE}NAME -->` nor with `{LIMIT}`", first(block))),
        }
    }
}

/// The first words of a block.
fn first(block: &str) -> String {
    block.split_whitespace().take(8).collect::<Vec<_>>().join(" ")
}

/// The items and paragraphs of a section with their lines, each as one line. Headings and code are none.
fn blocks(text: &str, section: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let (mut inside, mut code, mut open) = (false, false, false);
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            (code, open) = (!code, false);
        } else if code {
        } else if line.starts_with("## ") {
            (inside, open) = (line == section, false);
        } else if line.starts_with('#') || line.trim().is_empty() {
            open = false;
        } else if inside {
            let is_item = line.starts_with("- ") || line.starts_with(|c: char| c.is_ascii_digit());
            match blocks.last_mut().filter(|_| open && !is_item) {
                Some((_, block)) => {
                    block.push(' ');
                    block.push_str(line.trim());
                }
                None => blocks.push((number, line.trim().to_owned())),
            }
            open = true;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(document: &Document, text: &str) -> Result<Vec<String>, Vec<String>> {
        Ok(document.promises(text)?.into_iter().map(|promise| promise.name).collect())
    }

    #[test]
    fn numbers_are_names() {
        let text = "1. No.\n\n## What a packet meets\n\nEach has a test.\n\n1. One\n   more.\n2. Two.\n\n## Next\n\n3. No.\n";
        assert_eq!(named(&ALL[0], text), Ok(vec!["policy 1".to_owned(), "policy 2".to_owned()]));
    }

    #[test]
    fn every_block_says_what_it_is() {
        let text =
            "## Threat model\n\nThey can. <!-- limit -->\n\n- Closed\n  is closed. <!-- promise closed -->\n";
        assert_eq!(named(&ALL[1], text), Ok(vec!["security closed".to_owned()]));
        let wrong =
            "## Threat model\n\n- Closed <!-- promise closed -->\n- Open.\n- Again <!-- promise closed -->\n";
        let faults = named(&ALL[1], wrong).expect_err("one is neither, one is twice");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("SECURITY.md:4: `- Open.` ends neither"), "{}", faults[0]);
    }

    #[test]
    fn a_document_that_lost_its_section_is_noticed() {
        assert!(named(&ALL[2], "## Something else\n\n- Atomic. <!-- promise atomic -->\n").is_err());
    }
}
