//! A page of HTML as a tree, within bounds: whoever sends a page must not decide how long it is read, how deep its tree
//! goes or how much memory it takes.
//!
//! Promises: size, number of parts, depth and time are bounded, and the excess says which bound and how much. A tree that
//! comes back whole is the one that any browser would make. The meaning of the page is not known here.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use html5ever::TokenizerResult;
use html5ever::buffer_queue::BufferQueue;
use html5ever::interface::{Tracer, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Token, TokenSink, TokenSinkResult, Tokenizer};
use html5ever::tree_builder::TreeBuilder;
use scraper::{Html, HtmlTreeSink};

use super::PAGE_BYTES;

/// Most elements and texts in a page; the bank's have a few hundred.
const PARTS: usize = 50_000;

/// Deepest nesting; browsers stop there too. A parser takes this many steps for every tag.
const DEPTH: usize = 512;

/// Longest time for reading a page, which is what bounds everything else that grows with the square of the page.
const PATIENCE: Duration = Duration::from_secs(4);

/// Bytes and tags that are read between two looks at the bounds.
const STEP_BYTES: usize = 4096;
const STEP_TAGS: u32 = 16;

type Handle = <HtmlTreeSink as TreeSink>::Handle;

/// The bound that a page exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// The length.
    Size,
    /// The number of its elements and texts.
    Parts,
    /// The nesting.
    Depth,
    /// The time that reading it takes.
    Time,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::Size => write!(f, "it is larger than {} MiB", PAGE_BYTES >> 20),
            Excess::Parts => write!(f, "it has more than {PARTS} elements"),
            Excess::Depth => write!(f, "its elements are nested deeper than {DEPTH}"),
            Excess::Time => write!(f, "reading it takes longer than {} s", PATIENCE.as_secs()),
        }
    }
}

/// Reads a page. Text that is no HTML gives a page of these words.
pub fn parse(body: &str) -> Result<Html, Excess> {
    if body.len() > PAGE_BYTES {
        return Err(Excess::Size);
    }
    let builder = TreeBuilder::new(HtmlTreeSink::new(Html::new_document()), Default::default());
    let bounded = Bounded { builder, began: Instant::now(), tags: Cell::new(0), excess: Cell::new(None) };
    let tokenizer = Tokenizer::new(bounded, Default::default());
    let queue = BufferQueue::default();
    let mut rest = body;
    while !rest.is_empty() {
        let (step, left) = rest.split_at(rest.floor_char_boundary(STEP_BYTES));
        rest = left;
        queue.push_back(StrTendril::from(step));
        // The tokenizer stops after a script, which is not run, and where a page names its encoding.
        while !matches!(tokenizer.feed(&queue), TokenizerResult::Done) {}
        tokenizer.sink.look();
        if let Some(excess) = tokenizer.sink.excess.get() {
            return Err(excess);
        }
    }
    tokenizer.end();
    let Bounded { builder, excess, .. } = tokenizer.sink;
    excess.get().map_or_else(|| Ok(builder.sink.finish()), Err)
}

/// Makes the tree as long as it stays within the bounds, and after that nothing.
struct Bounded {
    builder: TreeBuilder<Handle, HtmlTreeSink>,
    began: Instant,
    tags: Cell<u32>,
    excess: Cell<Option<Excess>>,
}

impl Bounded {
    /// Looks at every bound.
    fn look(&self) {
        let open = Open(Cell::new(0));
        self.builder.trace_handles(&open);
        let excess = match () {
            () if self.parts() > PARTS => Excess::Parts,
            () if open.0.get() > DEPTH => Excess::Depth,
            () if self.began.elapsed() > PATIENCE => Excess::Time,
            () => return,
        };
        self.excess.set(self.excess.get().or(Some(excess)));
    }

    fn parts(&self) -> usize {
        self.builder.sink.0.borrow().tree.values().len()
    }
}

impl TokenSink for Bounded {
    type Handle = Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Handle> {
        if self.excess.get().is_some() {
            return TokenSinkResult::Continue;
        }
        let result = self.builder.process_token(token, line);
        self.tags.set(self.tags.get() + 1);
        // A single tag may reopen every element that a page has left open: the number is looked at after each tag.
        if self.parts() > PARTS || self.tags.get().is_multiple_of(STEP_TAGS) {
            self.look();
        }
        result
    }

    fn end(&self) {
        if self.excess.get().is_none() {
            self.builder.end();
        }
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.excess.get().is_none() && self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// Counts the elements that are open, and those that are to be opened again.
struct Open(Cell<usize>);

impl Tracer for Open {
    type Handle = Handle;

    fn trace_handle(&self, _node: &Handle) {
        self.0.set(self.0.get() + 1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_any_browser_reads_it() {
        for page in [
            "",
            "just words",
            "<p>eins<p>zwei<table><tr><td>drei",
            "<svg><g><b>out</svg><template><td>x</td></template>",
            "<b><i>mis</b>nested</i><script>if (a<b) {}</script><!-- c --><textarea><p></textarea>",
            "\u{feff}<!DOCTYPE html><meta charset=windows-1251><title>я</title><select><option>1<option>2</select>",
        ] {
            assert_eq!(parse(page).unwrap().html(), Html::parse_document(page).html(), "{page}");
        }
        let long = format!("<ul>{}</ul>", "<li>ред\u{a0}&amp;<a href='?a=1&b'>връзка</a>".repeat(2_000));
        assert_eq!(parse(&long).unwrap().html(), Html::parse_document(&long).html());
    }

    #[test]
    fn a_page_beyond_a_bound_is_refused_by_that_bound() {
        let attributes: String = (0..300_000).map(|at| format!(" a{at:x}")).collect();
        let distinct: String = (0..40_000).map(|at| format!("<b a{at}>")).collect();
        for (page, excess) in [
            ("x".repeat(PAGE_BYTES + 1), Excess::Size),
            ("<div>".repeat(50_000), Excess::Depth),
            ("<div><p>".repeat(600), Excess::Depth),
            ("<table><tr><td>".repeat(20_000), Excess::Depth),
            ("<svg><tr>".repeat(20_000), Excess::Depth),
            ("<template>".repeat(100_000), Excess::Depth),
            ("<a><b>".repeat(50_000), Excess::Depth),
            ("<b><p></b>".repeat(50_000), Excess::Parts),
            (format!("{distinct}{}", "<p>x".repeat(100_000)), Excess::Depth),
            ("<br>".repeat(500_000), Excess::Parts),
            ("<p>x".repeat(500_000), Excess::Parts),
            (format!("<div{attributes}>"), Excess::Time),
        ] {
            assert_eq!(parse(&page).err(), Some(excess), "{}…", &page[..60]);
        }
    }

    #[test]
    fn a_large_page_of_little_structure_is_read() {
        let text = "x".repeat(PAGE_BYTES - 100);
        assert_eq!(
            parse(&format!("<p>{text}</p>")).unwrap().root_element().text().map(str::len).sum::<usize>(),
            text.len()
        );
        assert!(parse(&format!("<!--{text}-->")).is_ok());
        assert!(parse(&format!("<img alt='{text}'>")).is_ok());
        assert!(parse(&"<div>".repeat(300)).is_ok());
    }
}
