//! The layout of the base: which table and which NocoDB fields belong to which columns.
//!
//! Pure: from what the service lists to a [`Layout`], which is remembered between cycles. Ids rule: a table or field once
//! bound is followed through every renaming. Titles count only where nothing has been bound yet.

use serde::{Deserialize, Serialize};

use super::cells::Shape;
use crate::destination::policy::Column;
use crate::model::{Field, Language};

/// A table in the list of a base.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ListedTable {
    pub id: String,
    pub title: String,
}

/// A table with its fields.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Table {
    pub id: String,
    pub title: String,
    #[serde(default)]
    pub fields: Vec<TableField>,
}

/// A field of a table as the service lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TableField {
    pub id: String,
    pub title: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// No two rows may have the same value, where the server's store enforces that.
    #[serde(default)]
    pub unique: serde_json::Value,
}

/// The remembered layout of the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// The base and table as configured when this was bound: another configuration makes it void.
    pub base: String,
    pub asked: String,
    /// `m…`
    pub table: String,
    /// An entry per configured column, in the same order.
    pub columns: Vec<Bound>,
    /// The tick field for rows the bank took back, once there is one.
    pub vanished: Option<Bound>,
    /// The layout is known to be wrong in a part: it is read again before the next delivery.
    pub stale: bool,
}

/// A NocoDB field bound to a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    /// Key of the transaction's field.
    pub key: String,
    /// `c…`
    pub id: String,
    /// The field's title when last read; records name their cells by it.
    pub title: String,
    /// The form of its cells.
    pub shape: Shape,
    /// The field's type when last read, in the service's word.
    pub kind: String,
    /// The owner has deleted it.
    #[serde(default)]
    pub gone: bool,
}

/// Columns matched to the fields of a table.
#[derive(Debug)]
pub(super) struct Binding {
    /// An entry per column; `None` if its field does not exist yet.
    pub columns: Vec<Option<Bound>>,
    /// The field of the id was bound once and is gone: it is needed, and made again.
    pub id_lost: bool,
    /// The obstacles in the owner's words; empty without one.
    pub unsuitable: Vec<String>,
}

impl Bound {
    /// The name by which a list is asked for the field. A list of names cannot hold a title with a comma.
    pub(super) fn listed_as(&self) -> &str {
        if self.title.contains(',') { &self.id } else { &self.title }
    }
}

impl Layout {
    /// The remembered columns in the order of today's configuration; `None` where one is missing.
    pub(super) fn aligned(&self, columns: &[Column]) -> Option<Vec<Bound>> {
        columns.iter().map(|column| remembered(&self.columns, column).cloned()).collect()
    }

    /// The field with the transaction's id.
    pub(super) fn id_column(&self) -> Option<&Bound> {
        self.columns.iter().find(|bound| bound.key == Field::Id.key() && !bound.gone)
    }

    /// True if the layout was bound under this configuration.
    pub(super) fn speaks_of(&self, base: &str, asked: &str) -> bool {
        self.base == base && self.asked == asked
    }

    /// Every field that is there, the tick field among them.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Bound> {
        self.columns.iter().filter(|bound| !bound.gone).chain(&self.vanished)
    }
}

fn remembered<'a>(known: &'a [Bound], column: &Column) -> Option<&'a Bound> {
    known.iter().find(|bound| bound.key == column.field.key())
}

/// The configured table among those of the base: by id, by title, by title in other capitals.
pub(super) fn find_table<'a>(tables: &'a [ListedTable], asked: &str) -> Option<&'a ListedTable> {
    let by = |suits: &dyn Fn(&ListedTable) -> bool| tables.iter().find(|table| suits(table));
    by(&|table| table.id == asked)
        .or_else(|| by(&|table| table.title == asked))
        .or_else(|| by(&|table| same_title(&table.title, asked)))
}

/// True for a text that looks like a table's id rather than a title.
pub(super) fn is_table_id(text: &str) -> bool {
    text.len() == 15
        && text.starts_with('m')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Matches columns to the fields of `table`: first by the ids bound before, then by header, then by the other names the
/// field goes by. No NocoDB field serves two columns.
pub(super) fn bind(columns: &[Column], table: &Table, known: &[Bound]) -> Binding {
    let before: Vec<_> = columns.iter().map(|column| remembered(known, column)).collect();
    let by_id = |bound: &Bound| table.fields.iter().find(|field| field.id == bound.id);
    let mut chosen: Vec<Option<&TableField>> = before.iter().map(|bound| bound.and_then(by_id)).collect();
    choose(columns, table, &mut chosen, |column, title| same_title(title, &column.header));
    choose(columns, table, &mut chosen, |column, title| {
        let field = &column.field;
        [field.key().into_owned(), field.header(Language::En), field.header(Language::Bg)]
            .iter()
            .any(|alias| same_title(title, alias))
    });
    let mut binding = Binding { columns: Vec::new(), id_lost: false, unsuitable: Vec::new() };
    for ((column, field), before) in columns.iter().zip(chosen).zip(before) {
        binding.add(column, field, before);
    }
    binding
}

/// Gives every column that has none yet the first free field whose title `suits`.
fn choose<'a>(
    columns: &[Column],
    table: &'a Table,
    chosen: &mut [Option<&'a TableField>],
    suits: impl Fn(&Column, &str) -> bool,
) {
    for (at, column) in columns.iter().enumerate() {
        if chosen[at].is_none() {
            let taken = |field: &TableField| chosen.iter().flatten().any(|other| other.id == field.id);
            // A field of this type holds the numbers of the records, which are no ids of ours.
            let is_free = |field: &&TableField| field.kind != "ID" && !taken(field);
            chosen[at] = table.fields.iter().filter(is_free).find(|field| suits(column, &field.title));
        }
    }
}

impl Binding {
    fn add(&mut self, column: &Column, field: Option<&TableField>, before: Option<&Bound>) {
        let Some(field) = field else {
            let is_id = column.field == Field::Id;
            self.id_lost |= is_id && before.is_some();
            // A field that the owner has deleted stays away.
            self.columns.push(before.filter(|_| !is_id).map(|before| Bound { gone: true, ..before.clone() }));
            return;
        };
        let bound = bound(column, field);
        if bound.is_none() {
            let (title, kind) = (&field.title, &field.kind);
            self.unsuitable.push(format!("field `{title}` is of type {kind}, which cannot take `{}`", column.field));
        }
        self.columns.push(bound);
    }
}

/// A field bound to a column, where its type suits.
pub(super) fn bound(column: &Column, field: &TableField) -> Option<Bound> {
    let shape = Shape::of(&column.field, &field.kind)?;
    Some(Bound {
        key: column.field.key().into_owned(),
        id: field.id.clone(),
        title: field.title.clone(),
        shape,
        kind: field.kind.clone(),
        gone: false,
    })
}

/// Types that hold an amount as it is and show it as something else.
pub(super) fn oddness(bound: &Bound) -> Option<String> {
    let is_odd = !bound.gone && bound.kind == "Percent";
    is_odd.then(|| {
        format!("field `{}` is of type Percent and shows amounts as percentages: make it Decimal", bound.title)
    })
}

/// Titles of the tick field, the one to create first.
pub(super) fn vanished_titles(language: Language) -> [&'static str; 2] {
    match language {
        Language::En => ["Vanished", "Оттеглена"],
        Language::Bg => ["Оттеглена", "Vanished"],
    }
}

/// The tick field of `table`: the one bound before, else by title. An error names a field that is no checkbox.
pub(super) fn bind_vanished(table: &Table, known: Option<&Bound>) -> Result<Option<Bound>, String> {
    let by_id = known.and_then(|known| table.fields.iter().find(|field| field.id == known.id));
    let titles = vanished_titles(Language::En);
    let by_title = || table.fields.iter().find(|field| titles.iter().any(|title| same_title(&field.title, title)));
    match by_id.or_else(by_title) {
        None => Ok(None),
        Some(field) if field.kind == "Checkbox" => Ok(Some(vanished(field))),
        Some(field) => Err(format!("field `{}` is no checkbox ({})", field.title, field.kind)),
    }
}

/// The tick field, bound.
pub(super) fn vanished(field: &TableField) -> Bound {
    let (id, title, kind) = (field.id.clone(), field.title.clone(), field.kind.clone());
    Bound { key: "vanished".into(), id, title, shape: Shape::Tick, kind, gone: false }
}

fn same_title(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table(fields: &[(&str, &str, &str)]) -> Table {
        let field = |&(id, title, kind): &(&str, &str, &str)| TableField {
            id: id.into(),
            title: title.into(),
            kind: kind.into(),
            unique: serde_json::Value::Null,
        };
        Table { id: "m1".into(), title: "Transactions".into(), fields: fields.iter().map(field).collect() }
    }

    fn columns(columns: &[(Field, &str)]) -> Vec<Column> {
        columns.iter().map(|(field, header)| Column { field: field.clone(), header: (*header).into() }).collect()
    }

    fn ids(binding: &Binding) -> Vec<Option<&str>> {
        binding.columns.iter().map(|bound| bound.as_ref().map(|bound| bound.id.as_str())).collect()
    }

    #[test]
    fn fields_are_found_by_header_key_and_default_header_in_any_case() {
        let table = table(&[
            ("cA", "VENDOR", "SingleLineText"),
            ("cB", "amount", "Currency"),
            ("cC", "  Дата ", "Date"),
            ("cN", "Id", "ID"),
            ("cD", "Transaction id", "SingleLineText"),
        ]);
        let columns = columns(&[
            (Field::Date, "Day"),
            (Field::Amount, "Sum"),
            (Field::Counterparty, "Vendor"),
            (Field::Vendor, "Shop"),
            (Field::Id, "Transaction ID"),
        ]);
        let binding = bind(&columns, &table, &[]);
        assert_eq!(ids(&binding), [Some("cC"), Some("cB"), Some("cA"), None, Some("cD")]);
        assert!(!binding.id_lost && binding.unsuitable.is_empty());
    }

    #[test]
    fn a_field_once_bound_is_followed_and_missed() {
        let columns = columns(&[(Field::Amount, "Amount"), (Field::Note, "Note"), (Field::Id, "Id")]);
        let before = table(&[("cA", "Amount", "Decimal"), ("cB", "Note", "LongText"), ("cI", "Id", "LongText")]);
        let known: Vec<Bound> = bind(&columns, &before, &[]).columns.into_iter().flatten().collect();
        let after = table(&[("cX", "Amount", "Formula"), ("cA", "Total", "Decimal")]);
        let binding = bind(&columns, &after, &known);
        assert_eq!(ids(&binding), [Some("cA"), Some("cB"), None]);
        assert_eq!(binding.columns.iter().flatten().map(|bound| bound.gone).collect::<Vec<_>>(), [false, true]);
        assert!(binding.id_lost);
    }

    #[test]
    fn an_unfit_field_is_named() {
        let table = table(&[("cA", "Amount", "Formula")]);
        let binding = bind(&columns(&[(Field::Amount, "Amount")]), &table, &[]);
        assert_eq!(binding.unsuitable, ["field `Amount` is of type Formula, which cannot take `amount`"]);
    }

    #[test]
    fn a_table_is_found_by_id_and_by_title_the_same_capitals_first() {
        let table = |id: &str, title: &str| ListedTable { id: id.into(), title: title.into() };
        let tables = [table("m1", "TX"), table("m2", "Tx"), table("m3", "Other")];
        let found = |asked| find_table(&tables, asked).map(|table| table.id.as_str());
        assert_eq!([found("m3"), found("Tx"), found("tx"), found("None")], [Some("m3"), Some("m2"), Some("m1"), None]);
        assert!(is_table_id("mfyp7b0n55bpvw3") && !is_table_id("Transactions"));
    }
}
