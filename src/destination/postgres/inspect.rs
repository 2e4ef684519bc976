//! The proof, without writing, that a delivery would find its way.

use crate::remote::{Cause, Error};

use super::Postgres;
use super::client::Statement;

impl Postgres {
    /// Connects, reads the table's layout, and asks for the rights.
    pub(super) async fn inspect(&mut self) -> Result<Vec<String>, Error> {
        self.session.connect().await?;
        let place = self.session.words.place.clone();
        let mut lines = vec![format!("signed in to {place}")];
        let layout = match self.view().await {
            Err(error) if error.message.ends_with("makes it") => {
                lines.push(format!("table `{}` found; columns will be added", self.table));
                None
            }
            Err(error) => return Err(error),
            Ok(None) => {
                let schema = match self.table.split_once('.') {
                    Some((schema, _)) => format!("'{}'", schema.replace('\'', "''")),
                    None => "current_schema()".to_owned(),
                };
                self.may(&format!("has_schema_privilege({schema}, 'CREATE')"), || {
                    "is missing and this user may not make it: run GRANT USAGE, CREATE ON SCHEMA … TO it, or make the \
                     table"
                        .to_owned()
                })
                .await?;
                lines.push(format!("table `{}` will be created", self.table));
                return Ok(lines);
            }
            Ok(Some(layout)) => Some(layout),
        };
        if let Some(layout) = layout {
            lines.push(format!("table `{}` found with {} columns of ours", self.table, layout.columns.len()));
        }
        let name = self.name().replace('\'', "''");
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let table = self.name();
            self.may(&format!("has_table_privilege('{name}', '{right}')"), || {
                format!("this user may not {right}: run GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO it")
            })
            .await?;
        }
        Ok(lines)
    }

    /// Asks the server for a right. An engine that cannot be asked shows it at the first write.
    async fn may(&mut self, right: &str, otherwise: impl Fn() -> String) -> Result<(), Error> {
        let asked = self.session.query(&Statement::new(format!("SELECT ({right})::text"))).await;
        match asked {
            Ok(rows) if rows.first().is_some_and(|row| row.get::<_, Option<&str>>(0) == Some("false")) => {
                Err(Error::attention(Cause::NotPermitted, self.session.words.of_table(&otherwise())))
            }
            Ok(_) => Ok(()),
            Err(failure) if failure.code.is_some() => Ok(()),
            Err(failure) => Err(failure.error),
        }
    }
}
