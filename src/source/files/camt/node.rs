//! An element of a CAMT file as a small tree, bounded in depth and number of parts.

use std::io::BufRead;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::{Walk, local};
use crate::source::files::statement::Refusal;

const DEEPEST: usize = 64;
const MOST_PARTS: usize = 500_000;

/// An element with its text and its children.
#[derive(Debug, Default)]
pub(super) struct Node {
    name: String,
    /// The attribute `Ccy` of amounts.
    pub(super) currency: Option<String>,
    /// The text between its tags, without blanks around it.
    pub(super) text: String,
    children: Vec<Node>,
}

impl Node {
    /// Reads the element whose start has just come, up to its end.
    pub(super) fn read(walk: &mut Walk<impl BufRead>, start: &BytesStart<'_>) -> Result<Node, Refusal> {
        let mut open = vec![Node::begin(start)];
        let mut parts = 1usize;
        loop {
            let event = walk.event()?;
            let Some(current) = open.last_mut() else { return Err(walk.refuse("the XML is broken")) };
            match event {
                Event::Start(start) => open.push(Node::begin(&start)),
                Event::Empty(start) => current.children.push(Node::begin(&start)),
                Event::Text(text) => current.text.push_str(&text.xml10_content()),
                Event::CData(text) => current.text.push_str(&text.xml10_content()),
                Event::GeneralRef(entity) => match entity.resolve_char_ref() {
                    Ok(Some(char)) => current.text.push(char),
                    _ => match resolve_predefined_entity(&entity.xml10_content()) {
                        Some(text) => current.text.push_str(text),
                        None => return Err(walk.refuse("the XML uses an entity of its own, which no statement needs")),
                    },
                },
                Event::End(_) => {
                    let Some(mut node) = open.pop() else { return Err(walk.refuse("the XML is broken")) };
                    node.text = node.text.trim().to_owned();
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => return Ok(node),
                    }
                }
                Event::Eof => return Err(walk.refuse("the file ends amid an element")),
                _ => continue,
            }
            parts += 1;
            if open.len() > DEEPEST || parts > MOST_PARTS {
                return Err(walk.refuse("an element is deeper or has more parts than any statement needs"));
            }
        }
    }

    /// Passes over the element whose start has just come.
    pub(super) fn skip(walk: &mut Walk<impl BufRead>) -> Result<(), Refusal> {
        let mut depth = 1usize;
        while depth > 0 {
            match walk.event()? {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Eof => return Err(walk.refuse("the file ends amid an element")),
                _ => {}
            }
        }
        Ok(())
    }

    fn begin(start: &BytesStart<'_>) -> Node {
        let currency = start.attributes().flatten().find(|attribute| attribute.key.local_name().as_ref() == "Ccy");
        Node {
            name: local(start),
            currency: currency.map(|attribute| attribute.value.trim().to_owned()).filter(|value| !value.is_empty()),
            ..Node::default()
        }
    }

    /// The first child of that name.
    pub(super) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every child of that name.
    pub(super) fn children<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n Node> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element that a path of first children leads to.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    /// The text at the end of a path, where there is one.
    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).map(|node| node.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The element as JSON: a text, or an object with a list where a name repeats.
    pub(super) fn json(&self) -> Value {
        if self.children.is_empty() && self.currency.is_none() {
            return Value::String(self.text.clone());
        }
        let mut object = Map::new();
        if let Some(currency) = &self.currency {
            object.insert("@Ccy".to_owned(), Value::String(currency.clone()));
        }
        if !self.text.is_empty() {
            object.insert("#text".to_owned(), Value::String(self.text.clone()));
        }
        for child in &self.children {
            let value = child.json();
            match object.get_mut(&child.name) {
                Some(Value::Array(list)) => list.push(value),
                Some(other) => {
                    let first = other.take();
                    *other = Value::Array(vec![first, value]);
                }
                None => {
                    object.insert(child.name.clone(), value);
                }
            }
        }
        Value::Object(object)
    }
}
