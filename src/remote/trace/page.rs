//! A page as an outline: its tags, what they are called, and such words as anybody may read.

use scraper::{ElementRef, Node};

use super::scrub::Scrubber;
use super::words::{ATTRIBUTES, TAGS};
use crate::remote::document;

/// Deeper than any page is nested; what lies below is left out.
const DEEPEST: usize = 60;

/// A line for each tag or text, indented by depth.
pub(super) fn outline(body: &str, scrubber: &mut Scrubber) -> String {
    let document = match document::parse(body) {
        Ok(document) => document,
        Err(excess) => return format!("not read, because {excess}\n"),
    };
    let mut lines = String::new();
    element(document.root_element(), 0, scrubber, &mut lines);
    lines
}

fn element(at: ElementRef<'_>, depth: usize, scrubber: &mut Scrubber, lines: &mut String) {
    let indent = "  ".repeat(depth);
    *lines += &format!("{indent}{}\n", tag(at.value(), scrubber));
    let is_code = ["script", "style", "noscript", "template"].contains(&at.value().name());
    for child in at.children() {
        if let Some(inner) = ElementRef::wrap(child) {
            if depth < DEEPEST {
                element(inner, depth + 1, scrubber, lines);
            }
            continue;
        }
        let shown = match child.value() {
            Node::Text(text) if is_code && !text.trim().is_empty() => "‹code›".to_owned(),
            Node::Text(text) if !is_code => scrubber.words(text),
            Node::Comment(_) => "<!-- … -->".to_owned(),
            _ => String::new(),
        };
        if !shown.is_empty() {
            *lines += &format!("{indent}  {shown}\n");
        }
    }
}

fn tag(element: &scraper::node::Element, scrubber: &mut Scrubber) -> String {
    let name = if TAGS.contains(&element.name()) { element.name().to_owned() } else { scrubber.value(element.name()) };
    let mut shown = format!("<{name}");
    for (name, value) in element.attrs() {
        let value = match name {
            "action" | "href" | "src" => scrubber.url(value),
            "name" | "id" | "for" => scrubber.name(value),
            "placeholder" | "title" | "alt" | "aria-label" | "value" if value.contains(' ') => scrubber.words(value),
            _ => scrubber.word(value),
        };
        let known = ATTRIBUTES.contains(name)
            || name.starts_with("ng-") && name.bytes().all(|b| b == b'-' || b.is_ascii_lowercase());
        let name = if known { name.to_owned() } else { scrubber.value(name) };
        shown += &format!(" {name}=\"{value}\"");
    }
    shown + ">"
}
