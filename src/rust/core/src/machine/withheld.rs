//! Word of other devices that we get no room key of theirs.
//!
//! Specification: client-server API, end-to-end encryption, "Reporting that decryption keys are
//! withheld".

use super::Work;
use crate::{
    error::{Error, Kind, Result},
    judgement::identifier,
    primitives::canonical_json::{Json, Object},
    store::{Query, records::WithheldKey},
};

/// The type of the event.
pub(super) const WITHHELD: &str = "m.room_key.withheld";
/// The code of whoever could open no Olm session with us.
pub(super) const NO_OLM: &str = "m.no_olm";
/// How much of it is kept: whoever likes may send it.
const MOST_KEPT: i64 = 10_000;

impl Work<'_> {
    /// Takes in that `sender` gives us no key. What is said as its reason is anybody's text, and not
    /// kept.
    pub(super) fn receive_withheld(&mut self, sender: &str, content: &Object) -> Result<()> {
        let text = |name: &str| {
            let text = content.get(name).and_then(Json::as_str);
            text.filter(|text| identifier::is_sound(text)).map(str::to_owned)
        };
        let refused = |what: &str| {
            Error::new(Kind::Json, format!("A withheld notice is discarded: it has no {what}."))
        };
        let code = text("code").ok_or_else(|| refused("code"))?;
        if code == NO_OLM {
            let sender_key = text("sender_key").ok_or_else(|| refused("sender_key"))?;
            return self.olm_is_broken(sender, &sender_key);
        }
        let number = self.tx.take_number("withheld key")?;
        self.tx.put(&WithheldKey {
            room_id: text("room_id").ok_or_else(|| refused("room_id"))?,
            session_id: text("session_id").ok_or_else(|| refused("session_id"))?,
            sender: sender.to_owned(),
            number,
            code,
        })?;
        let old = Query::all().until("number", number - MOST_KEPT);
        self.tx.delete_where::<WithheldKey>(&old).map(drop)
    }
}
