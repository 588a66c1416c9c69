//! Blocks of code of a page.

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// Where a block is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// Where the blocks before it were.
    Here,
    /// On a second cluster.
    Elsewhere,
    /// Not at all, for this reason.
    Nowhere(String),
}

/// A block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// As after the fence.
    pub(super) language: String,
    pub(super) place: Where,
    pub(super) text: String,
}

/// The blocks of a page, in their order.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut place = Where::Here;
    let mut open: Option<Block> = None;
    for event in Parser::new(page) {
        match event {
            Event::Html(html) => {
                let comment = html.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
                match comment.map(str::trim) {
                    Some("on another cluster") => place = Where::Elsewhere,
                    Some(text) => {
                        if let Some(reason) = text.strip_prefix("not run:") {
                            place = Where::Nowhere(reason.trim().to_owned());
                        }
                    }
                    None => {}
                }
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                let place = std::mem::replace(&mut place, Where::Here);
                open = Some(Block { language: language.to_string(), place, text: String::new() });
            }
            Event::Text(text) => {
                if let Some(block) = &mut open {
                    block.text.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    blocks
}

#[test]
fn blocks_are_found_with_what_stands_before_them() {
    let page = "a\n\n<!-- not run: needs a cloud -->\n```sh\na\n```\n\n1. b\n\n   ```sh\n   b \\\n     c\n   ```\n\n<!-- on another cluster -->\n```sh\nd\n```\n";
    let block = |place: Where, text: &str| Block { language: "sh".to_owned(), place, text: text.to_owned() };
    let expected = [
        block(Where::Nowhere("needs a cloud".to_owned()), "a\n"),
        block(Where::Here, "b \\\n  c\n"),
        block(Where::Elsewhere, "d\n"),
    ];
    assert_eq!(blocks(page), expected);
}
