//! The layout of the base: which table and which Airtable fields belong to which columns.
//!
//! Pure: from what the service lists to a [`Layout`], which is remembered between cycles so that a delivery needs no
//! read. Ids rule: a table or field once bound is followed through every renaming. Names count only where nothing has
//! been bound yet.

use serde::{Deserialize, Serialize};

use crate::destination::policy::Column;
use crate::model::{Field, Language};

use super::cells::Shape;

/// A table as the service lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Table {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub fields: Vec<TableField>,
}

/// A field of a table as the service lists it. The field's options are not needed, and absent in old replies.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TableField {
    pub id: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// The remembered layout of the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// The base and table as configured when this was bound: another configuration makes it void.
    pub base: String,
    pub asked: String,
    /// `tbl…`
    pub table: String,
    /// An entry per configured column, in the same order.
    pub columns: Vec<Bound>,
    /// The tick field for rows the bank took back, once there is one.
    pub vanished: Option<Bound>,
    /// The layout is known to be wrong in a part: it is read again before the next delivery.
    pub stale: bool,
}

/// An Airtable field bound to a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    /// Key of the transaction's field.
    pub key: String,
    /// `fld…`
    pub id: String,
    /// The field's name when last read; formulas know no ids.
    pub name: String,
    /// The form of its cells.
    pub shape: Shape,
    /// The field's type when last read, in the service's word.
    #[serde(default)]
    pub kind: String,
    /// The owner has deleted it. Should he restore it, it comes back under the same id.
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

impl Layout {
    /// The remembered columns in the order of today's configuration; `None` where one is missing.
    pub(super) fn aligned(&self, columns: &[Column]) -> Option<Vec<Bound>> {
        let mut left: Vec<&Bound> = self.columns.iter().collect();
        columns.iter().map(|column| take(&mut left, column).cloned()).collect()
    }

    /// The field with the transaction's id.
    pub(super) fn id_column(&self) -> Option<&Bound> {
        self.columns.iter().find(|bound| bound.key == Field::Id.key())
    }

    /// True if the layout was bound under this configuration.
    pub(super) fn speaks_of(&self, base: &str, asked: &str) -> bool {
        self.base == base && self.asked == asked
    }
}

/// The first remembered field of this column that no other column has taken (a field may be shown twice).
fn take<'a>(left: &mut Vec<&'a Bound>, column: &Column) -> Option<&'a Bound> {
    let at = left.iter().position(|bound| bound.key == column.field.key())?;
    Some(left.remove(at))
}

/// The configured table among those of the base: by the id bound before, by id, by name.
pub(super) fn find_table<'a>(tables: &'a [Table], asked: &str, bound: Option<&str>) -> Option<&'a Table> {
    let by_id = |id: &str| tables.iter().find(|table| table.id == id);
    bound.and_then(by_id).or_else(|| by_id(asked)).or_else(|| tables.iter().find(|table| same_name(&table.name, asked)))
}

/// Matches columns to the fields of `table`: first by the ids bound before, then by header, then by the other names the
/// field goes by. No Airtable field serves two columns.
pub(super) fn bind(columns: &[Column], table: &Table, known: &[Bound]) -> Binding {
    let mut left: Vec<&Bound> = known.iter().collect();
    let remembered: Vec<_> = columns.iter().map(|column| take(&mut left, column)).collect();
    let mut chosen: Vec<Option<&TableField>> = remembered
        .iter()
        .map(|bound| bound.and_then(|bound| table.fields.iter().find(|field| field.id == bound.id)))
        .collect();
    choose(columns, table, &mut chosen, |column, name| same_name(name, &column.header));
    choose(columns, table, &mut chosen, |column, name| {
        let field = &column.field;
        [field.key().into_owned(), field.header(Language::En), field.header(Language::Bg)]
            .iter()
            .any(|alias| same_name(name, alias))
    });
    let mut binding = Binding { columns: Vec::new(), id_lost: false, unsuitable: Vec::new() };
    for ((column, field), before) in columns.iter().zip(chosen).zip(remembered) {
        binding.add(column, field, before);
    }
    binding
}

/// Gives every column that has none yet the first free field whose name `suits`.
fn choose<'a>(
    columns: &[Column],
    table: &'a Table,
    chosen: &mut [Option<&'a TableField>],
    suits: impl Fn(&Column, &str) -> bool,
) {
    for (at, column) in columns.iter().enumerate() {
        if chosen[at].is_none() {
            let taken = |field: &TableField| chosen.iter().flatten().any(|other| other.id == field.id);
            chosen[at] = table.fields.iter().find(|field| suits(column, &field.name) && !taken(field));
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
        match Shape::of(&column.field, &field.kind) {
            Some(shape) => self.columns.push(Some(Bound {
                key: column.field.key().into_owned(),
                id: field.id.clone(),
                name: field.name.clone(),
                shape,
                kind: field.kind.clone(),
                gone: false,
            })),
            None => {
                self.unsuitable.push(unsuitable(column, field));
                self.columns.push(None);
            }
        }
    }
}

fn unsuitable(column: &Column, field: &TableField) -> String {
    const COMPUTED: [&str; 14] = [
        "formula",
        "rollup",
        "count",
        "multipleLookupValues",
        "lookup",
        "autoNumber",
        "createdTime",
        "lastModifiedTime",
        "createdBy",
        "lastModifiedBy",
        "button",
        "externalSyncSource",
        "aiText",
        "manualSort",
    ];
    let why = if COMPUTED.contains(&field.kind.as_str()) { "is computed" } else { "is of a type that cannot take it" };
    format!("field `{}` for `{}` {why} ({})", field.name, column.field, field.kind)
}

/// Types that hold an amount as it is and show it as something else.
pub(super) fn oddness(bound: &Bound) -> Option<String> {
    let shows = match bound.kind.as_str() {
        _ if bound.gone => return None,
        "percent" => "shows amounts a hundredfold",
        "duration" => "shows amounts as times",
        _ => return None,
    };
    Some(format!("field `{}` is of type {} and {shows}: make it number or currency", bound.name, bound.kind))
}

/// Records that the plans allow in a base, by the smallest plan.
const PLANS: [(u64, &str); 3] = [(1_000, "Free"), (50_000, "Team"), (125_000, "Business")];

/// The note about a table that comes near a plan's limit. A fuller base is on a larger plan.
pub(super) fn fullness(records: u64) -> Option<String> {
    let near = |(most, _): &&(u64, &str)| (most / 10 * 9..=*most).contains(&records);
    PLANS.iter().find(near).map(|(most, plan)| {
        format!(
            "the table holds {records} records, and a base of the {plan} plan takes {most} in all its tables: if it is on that plan, delete rows or change the plan; once it is full, new rows wait"
        )
    })
}

/// Names of the tick field, the one to create first.
pub(super) fn vanished_names(language: Language) -> [&'static str; 2] {
    match language {
        Language::En => ["Vanished", "Изчезнал"],
        Language::Bg => ["Изчезнал", "Vanished"],
    }
}

/// The tick field of `table`: the one bound before, else by name. An error names a field that is no checkbox.
pub(super) fn bind_vanished(table: &Table, known: Option<&Bound>) -> Result<Option<Bound>, String> {
    let by_id = known.and_then(|known| table.fields.iter().find(|field| field.id == known.id));
    let names = vanished_names(Language::En);
    let by_name = || table.fields.iter().find(|field| names.iter().any(|name| same_name(&field.name, name)));
    match by_id.or_else(by_name) {
        None => Ok(None),
        Some(field) if field.kind == "checkbox" => Ok(Some(vanished(field))),
        Some(field) => Err(format!("field `{}` is no checkbox ({})", field.name, field.kind)),
    }
}

/// The tick field, bound.
pub(super) fn vanished(field: &TableField) -> Bound {
    let (id, name, kind) = (field.id.clone(), field.name.clone(), field.kind.clone());
    Bound { key: "vanished".into(), id, name, shape: Shape::Tick, kind, gone: false }
}

/// Airtable takes names for the same whatever their case.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: &[(&str, &str, &str)]) -> Table {
        let field =
            |&(id, name, kind): &(&str, &str, &str)| TableField { id: id.into(), name: name.into(), kind: kind.into() };
        Table { id: "tbl1".into(), name: "Transactions".into(), fields: fields.iter().map(field).collect() }
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
            ("fldA", "VENDOR", "singleLineText"),
            ("fldB", "amount", "currency"),
            ("fldC", "  Дата ", "date"),
            ("fldD", "Transaction id", "singleLineText"),
        ]);
        let columns = columns(&[
            (Field::Date, "Day"),
            (Field::Amount, "Sum"),
            (Field::Counterparty, "Vendor"),
            (Field::Vendor, "Shop"),
            (Field::Id, "Transaction ID"),
        ]);
        let binding = bind(&columns, &table, &[]);
        // The header of one column wins over the default name of another.
        assert_eq!(ids(&binding), [Some("fldC"), Some("fldB"), Some("fldA"), None, Some("fldD")]);
        assert!(!binding.id_lost && binding.unsuitable.is_empty());
    }

    #[test]
    fn a_field_once_bound_is_followed_and_missed() {
        let columns = columns(&[(Field::Amount, "Amount"), (Field::Note, "Note")]);
        let before = table(&[("fldA", "Amount", "number"), ("fldB", "Note", "multilineText")]);
        let known: Vec<Bound> = bind(&columns, &before, &[]).columns.into_iter().flatten().collect();
        let after = table(&[("fldX", "Amount", "formula"), ("fldA", "Total", "number")]);
        let binding = bind(&columns, &after, &known);
        assert_eq!(ids(&binding), [Some("fldA"), Some("fldB")]);
        assert_eq!(binding.columns.iter().flatten().map(|bound| bound.gone).collect::<Vec<_>>(), [false, true]);
        assert!(!binding.id_lost);
    }

    #[test]
    fn a_computed_or_unfit_field_is_named() {
        let table = table(&[("fldA", "Amount", "formula"), ("fldB", "Date", "multipleAttachments")]);
        let binding = bind(&columns(&[(Field::Amount, "Amount"), (Field::Date, "Date")]), &table, &[]);
        assert_eq!(
            binding.unsuitable,
            [
                "field `Amount` for `amount` is computed (formula)",
                "field `Date` for `date` is of a type that cannot take it (multipleAttachments)"
            ]
        );
    }

    #[test]
    fn the_table_is_followed_by_id_and_found_by_name() {
        let mut other = table(&[]);
        other.id = "tbl2".into();
        other.name = "Renamed".into();
        let tables = [table(&[]), other];
        let found = |asked, bound| find_table(&tables, asked, bound).map(|table| table.id.as_str());
        assert_eq!(found("TRANSACTIONS", None), Some("tbl1"));
        assert_eq!(found("Transactions", Some("tbl2")), Some("tbl2"));
        assert_eq!(found("tbl2", None), Some("tbl2"));
        assert_eq!(found("Transactions", Some("tbl9")), Some("tbl1"));
        assert_eq!(found("Else", None), None);
    }

    #[test]
    fn columns_in_another_order_need_no_reading() {
        let order = columns(&[(Field::Amount, "Amount"), (Field::Id, "Id")]);
        let table = table(&[("fldA", "Amount", "number"), ("fldI", "Id", "singleLineText")]);
        let layout = Layout {
            base: "app1".into(),
            asked: "Transactions".into(),
            table: "tbl1".into(),
            columns: bind(&order, &table, &[]).columns.into_iter().flatten().collect(),
            vanished: None,
            stale: false,
        };
        let turned = columns(&[(Field::Id, "Id"), (Field::Amount, "Amount")]);
        let aligned = layout.aligned(&turned).unwrap();
        assert_eq!(aligned.iter().map(|bound| bound.id.as_str()).collect::<Vec<_>>(), ["fldI", "fldA"]);
        assert_eq!(layout.aligned(&columns(&[(Field::Note, "Note")])), None);
        assert_eq!(layout.id_column().unwrap().id, "fldI");
    }
}
