//! The questions of `bankfeed init` about SimpleFIN. The access is no matter of the configuration: `bankfeed login` asks for
//! it.

use crate::settings::interview::{Draft, Interview, Stop};

/// Asks nothing, and says what comes next.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    person.say(
        "SimpleFIN gives a setup token: sign up at https://bridge.simplefin.org, connect your banks there, and make a token \
         under https://bridge.simplefin.org/simplefin/create. `bankfeed login` asks for it.\n",
    );
    Ok(Draft {
        name: "simplefin",
        head: "\n[[source]]\nname = \"simplefin\"\nkind = \"simplefin\"\n".to_owned(),
        secret: None,
        tail: "",
        options: "# The currency of accounts for which the service names none.\n# currency = \"USD\"\n",
        kept_file: None,
        sign_in_at: Some("SimpleFIN"),
    })
}
