//! PostgreSQL against the real server: no part of it is simulated. Where the machine has no server these tests are
//! ignored and say so; the gate installs one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bankfeed::simulator::fibank::Bank;

use crate::world::World;

mod kills;
mod proxy;
mod server;
mod table;
mod trouble;

pub use proxy::Proxy;
pub use server::{Postgres, fresh_schema, shared};

/// The doors of worlds, by the worlds' directories.
static DOORS: Mutex<Option<HashMap<PathBuf, Arc<Proxy>>>> = Mutex::new(None);

/// A world with a third destination, a schema of its own in the shared server, behind a door.
pub async fn world(bank: Bank) -> World {
    let mut world = World::new(bank).await;
    let door = Proxy::open(shared().port).await;
    attach(&mut world, &door, &shared().url(door.port), &fresh_schema(), "");
    world
}

/// Adds a destination to the configuration.
pub fn attach(world: &mut World, door: &Arc<Proxy>, url: &str, schema: &str, more: &str) {
    DOORS.lock().unwrap().get_or_insert_default().insert(world.dir.path().to_owned(), door.clone());
    world.extra[2] = format!(
        "\n[[destination]]\nname = \"warehouse\"\nkind = \"postgres\"\nurl = \"{url}\"\ntable = \"{schema}.transactions\"\n{more}"
    );
    world.write_config();
}

/// The door of a world.
pub fn door(world: &World) -> Arc<Proxy> {
    DOORS.lock().unwrap().as_ref().unwrap()[world.dir.path()].clone()
}

/// The table of a world.
pub fn table(world: &World) -> String {
    let (_, rest) = world.extra[2].split_once("table = \"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}
