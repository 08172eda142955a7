//! Word of other devices that we get no room key of theirs.
//!
//! Specification: client-server API, end-to-end encryption, "Reporting that decryption keys are
//! withheld".

use super::{
    Work,
    effects::{self, Effect},
    olm_repair,
};
use crate::{
    error::{Error, Kind, Result},
    judgement::{identifier, reasons::NO_OLM},
    primitives::canonical_json::{Json, Object},
    store::records::WithheldKey,
};

/// Takes in that `sender` gives us no key. What is said as its reason is anybody's text, and not
/// kept.
pub(super) fn receive_withheld(work: &mut Work<'_>, sender: &str, content: &Object) -> Result<()> {
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
        return olm_repair::olm_is_broken(work, sender, &sender_key);
    }
    let number = work.tx.take_number("withheld key")?;
    work.tx.put(&WithheldKey {
        room_id: text("room_id").ok_or_else(|| refused("room_id"))?,
        session_id: text("session_id").ok_or_else(|| refused("session_id"))?,
        sender: sender.to_owned(),
        number,
        code,
    })?;
    effects::push(work, Effect::StoredFrom { sender: sender.to_owned() });
    Ok(())
}
