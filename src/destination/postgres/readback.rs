//! Reading the whole table back, row by row and without writing.

use crate::destination::Reading;
use crate::destination::readback::{Cell, FoundRow, Reader, Shown};
use crate::model::Field;
use crate::remote::Error;

use super::Postgres;
use super::cells::Shape;
use super::client::Statement;

impl Postgres {
    /// Reads ids, or ids and the bank's cells.
    pub(super) async fn read_once(&mut self, reading: Reading, reader: &mut dyn Reader) -> Result<(), Error> {
        self.session.connect().await?;
        let Some(layout) = self.view().await? else {
            reader.begin(Shown::nothing());
            return Ok(());
        };
        let mut columns: Vec<(Field, Shape)> = Vec::new();
        let mut selected = vec![format!("{}::text", layout.id())];
        if reading == Reading::Ids {
            reader.begin(Shown::nothing());
        } else {
            // The server keeps JSON in a form of its own: it cannot be compared letter by letter.
            for bound in layout.columns.iter().filter(|bound| bound.is_bank_owned() && bound.shape != Shape::Json) {
                selected.push(bound.shape.selected(&bound.name));
                columns.push((bound.field.clone(), bound.shape));
            }
            reader.begin(shown(&columns));
        }
        let marks = layout.mark.as_ref().filter(|_| reading == Reading::RowsAndMarks);
        selected.extend(marks.map(super::layout::Mark::selected));
        let read = Statement::new(format!("SELECT {} FROM {}", selected.join(", "), self.name()));
        let mut place = 0_u64;
        let read = self.session.each(&read, |row| {
            place += 1;
            let text = |at: usize| row.get::<_, Option<&str>>(at);
            let Some(id) = text(0).filter(|id| !id.trim().is_empty()) else { return };
            let cells: Vec<Cell> =
                columns.iter().enumerate().map(|(at, (_, shape))| shape.read(text(at + 1))).collect();
            let is_marked = marks.is_some() && text(columns.len() + 1) == Some("true");
            reader.row(FoundRow { id: id.to_owned(), place: format!("{place:012}"), cells, is_marked });
        });
        Ok(read.await?)
    }
}

fn shown(columns: &[(Field, Shape)]) -> Shown {
    let fields = columns.iter().map(|(field, _)| field.clone()).collect();
    let columns = columns.to_vec();
    Shown::new(fields, Box::new(move |at, transaction| columns[at].1.expected(&columns[at].0.value(transaction))))
}
